-- SPDX-License-Identifier: Apache-2.0
--- Chat, mail, telephony, customers.
local p = require "plainsight.secrets.patterns"

local slack = { "slack.com", "*.slack.com" }
local discord = { "discord.com", "*.discord.com", "discordapp.com", "*.discordapp.com", "*.discord.gg" }
local UUID = "[a-fA-F0-9]{8}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{12}"

return {
  {
    id = "slack-token", description = "Slack bot, user or legacy token", severity = "critical", kind = "credential",
    pattern = p.token("(?:xoxe[.])?xox[abceoprs]-(?:\\d{1,2}-[A-Za-z0-9]{100,200}"
      .. "|(?:\\d{8,14}-){1,3}[A-Za-z0-9-]{16,128})"),
    entropy = 3, keywords = { "xoxa-", "xoxb-", "xoxc-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-" },
    providers = slack,
    examples = { "token=xo<>xb-<digit:12>-<digit:12>-<alnum:24>",
      "xo<>xp-<digit:11>-<digit:11>-<digit:12>-<hex:32>" },
    lookalikes = { "xo<>xb-not-a-token", "xo<>xb-<digit:12>" },
  },
  {
    id = "slack-app-token", description = "Slack app-level token", severity = "critical", kind = "credential",
    pattern = p.token "xapp-\\d-[A-Z0-9]{8,16}-\\d{10,16}-[a-f0-9]{64}", keywords = { "xapp-" }, providers = slack,
    examples = { "Bearer xa<>pp-1-A<upperalnum:10>-<digit:13>-<hex:64>" },
    lookalikes = { "xa<>pp-1-A<upperalnum:10>-<digit:13>-<hex:20>" },
  },
  {
    id = "slack-webhook", description = "Slack webhook URL", severity = "high", kind = "credential",
    pattern = "(?:hooks[.]slack[.]com(?::\\d+)?|^(?:[A-Z]{3,7} )?)/(?:services|workflows|triggers)"
      .. "/([A-Z][A-Z0-9]{8,12}/[A-Z]?[A-Z0-9]{8,20}/[A-Za-z0-9]{18,32})\\b",
    keywords = { "/services/", "/workflows/", "/triggers/" }, providers = slack,
    examples = { "https://hooks.slack<>.com/services/T<upperalnum:9>/B<upperalnum:9>/<alnum:24>" },
    lookalikes = { "https://hooks.slack<>.com/services/about" },
  },
  {
    id = "discord-bot-token", description = "Discord bot token", severity = "critical", kind = "credential",
    pattern = p.token "[MNO][A-Za-z0-9_-]{23,25}[.][A-Za-z0-9_-]{6}[.][A-Za-z0-9_-]{27,38}", entropy = 4,
    providers = discord, keywords = { "bot", "token", "discord" },
    examples = { "Authorization: Bot M<alnum:23>.<alnum:6>.<base64url:38>" },
    lookalikes = { "X<alnum:23>.<alnum:6>.<base64url:38>" },
  },
  {
    id = "discord-webhook", description = "Discord webhook URL", severity = "high", kind = "credential",
    pattern = "/api/(?:v\\d{1,2}/)?webhooks/\\d{17,20}/([A-Za-z0-9_-]{60,72})(?:[^A-Za-z0-9_-]|$)",
    keywords = { "webhooks/" }, providers = discord,
    examples = { "https://discord<>.com/api/webhooks/<digit:18>/<base64url:68>" },
    lookalikes = { "https://discord<>.com/api/webhooks/<digit:18>/<alnum:20>" },
  },
  {
    id = "telegram-bot-token", description = "Telegram bot token", severity = "critical", kind = "credential",
    pattern = "(?:\\b|[bB]ot)(\\d{8,10}:AA[A-Za-z0-9_-]{32,33})(?:[^A-Za-z0-9_-]|$)", entropy = 3.5,
    keywords = { ":aa" }, providers = { "api.telegram.org", "*.telegram.org" },
    examples = { "/bot<digit:10>:A<>A<base64url:33>/sendMessage" },
    lookalikes = { "<digit:10>:A<>A<base64url:20>" },
  },
  {
    id = "teams-webhook", description = "Microsoft Teams webhook URL", severity = "high", kind = "credential",
    pattern = "(?i)/webhookb2/(" .. UUID .. "@" .. UUID .. "/IncomingWebhook/[a-z0-9]{32}/" .. UUID .. ")",
    keywords = { "incomingwebhook" }, providers = { "*.webhook.office.com" },
    examples = { "https://a.webhook.office<>.com/webhookb2/<uuid>@<uuid>/IncomingWebhook/<hex:32>/<uuid>" },
    lookalikes = { "https://a.webhook.office<>.com/webhookb2/<uuid>" },
  },
  {
    id = "twilio-key", description = "Twilio API key", severity = "high", kind = "credential",
    pattern = p.token "SK[0-9a-f]{32}", entropy = 3, keywords = { "sk" }, providers = { "*.twilio.com" },
    examples = { "S<>K<hex:32>" },
    lookalikes = { "S<>K<hex:30>", "AC<hex:32>" },
  },
  {
    id = "sendgrid-key", description = "SendGrid API key", severity = "critical", kind = "credential",
    pattern = p.token "SG[.][A-Za-z0-9_-]{20,24}[.][A-Za-z0-9_-]{39,50}", entropy = 3.5, keywords = { "sg." },
    providers = { "*.sendgrid.com" },
    examples = { "Bearer S<>G.<base64url:22>.<base64url:43>" },
    lookalikes = { "S<>G.<base64url:10>.<base64url:43>" },
  },
  {
    id = "mailgun-key", description = "Mailgun API key", severity = "high", kind = "credential",
    pattern = p.token "(?:key-[a-f0-9]{32}|[a-f0-9]{32}-[a-f0-9]{8}-[a-f0-9]{8})", entropy = 3,
    keywords = { "key-", "mailgun" },
    providers = { "*.mailgun.net", "*.mailgun.org" },
    examples = { "ke<>y-<hex:32>", "mailgun <hex:32>-<hex:8>-<hex:8>" },
    lookalikes = { "ke<>y-<hex:16>", "cachekey-<hex:32>" },
  },
  {
    id = "mailchimp-key", description = "Mailchimp API key", severity = "high", kind = "credential",
    pattern = p.token "[a-f0-9]{32}-us\\d{1,2}", entropy = 3, keywords = { "-us" },
    providers = { "*.mailchimp.com", "*.mandrillapp.com" },
    examples = { "<hex:32>-us<>12" },
    lookalikes = { "<hex:30>-us<>12", "<hex:32>-eu1" },
  },
  {
    id = "brevo-key", description = "Brevo API key", severity = "high", kind = "credential",
    pattern = p.token "xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}", keywords = { "xkeysib-" },
    providers = { "*.brevo.com", "*.sendinblue.com" },
    examples = { "api-key: xkey<>sib-<hex:64>-<alnum:16>" },
    lookalikes = { "xkey<>sib-<hex:64>" },
  },
  {
    id = "resend-key", description = "Resend API key", severity = "high", kind = "credential",
    pattern = p.token "re_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}", entropy = 3.5, keywords = { "re_" },
    providers = { "*.resend.com" },
    examples = { "Bearer r<>e_<alnum:8>_<alnum:24>" },
    lookalikes = { "r<>e_<alnum:8>_<alnum:12>" },
  },
  {
    id = "postmark-token", description = "Postmark server or account token", severity = "high", kind = "credential",
    pattern = p.field("x-postmark-(?:server|account)-token", UUID), keywords = { "x-postmark" },
    providers = { "*.postmarkapp.com" }, priority = 1,
    examples = { "X-Postmark-Server-Token: <uuid>" },
    lookalikes = { "X-Request-Id: <uuid>" },
  },
  {
    id = "facebook-token", description = "Meta (Facebook) access token", severity = "high", kind = "credential",
    pattern = p.token "EAA[A-Za-z0-9]{90,300}", entropy = 4, keywords = { "eaa" },
    allow = { patterns = { "^EAA[A-Z0-9]+$", "A{8}" } },
    providers = { "*.facebook.com", "*.instagram.com", "*.whatsapp.com" },
    examples = { "access_token=EA<>A<alnum:180>" },
    lookalikes = { "EA<>A<alnum:40>" },
  },
  {
    id = "twitter-bearer-token", description = "X (Twitter) app bearer token", severity = "high", kind = "credential",
    pattern = "(?:^|[^A-Za-z0-9])(A{18,24}[A-Za-z0-9%]{76,120})(?:[^A-Za-z0-9%]|$)", entropy = 3.5,
    keywords = { "bearer" }, providers = { "*.twitter.com", "*.x.com" }, priority = 1,
    examples = { "Bearer <>AAAAAAAAAAAAAAAAAAAAA<alnum:40>%3D<alnum:50>" },
    lookalikes = { "Bearer<>: AAAAAAAAAAAAAAAAAAAAA" },
  },
  {
    id = "hubspot-token", description = "HubSpot private app token", severity = "high", kind = "credential",
    pattern = p.token("pat-(?:na|eu)\\d-[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}"),
    keywords = { "pat-na", "pat-eu" }, providers = { "*.hubapi.com", "*.hubspot.com" },
    examples = { "Bearer pa<>t-na1-<uuid>" },
    lookalikes = { "pa<>t-zz1-<uuid>" },
  },
  {
    id = "dropbox-token", description = "Dropbox access token", severity = "high", kind = "credential",
    pattern = "(?:^|[^A-Za-z0-9_.-])(sl[.](?:u[.])?[A-Za-z0-9_-]{100,})(?:[^A-Za-z0-9_-]|$)", entropy = 4,
    keywords = { "sl." }, providers = { "*.dropboxapi.com", "*.dropbox.com" },
    examples = { "Bearer s<>l.<base64url:136>" },
    lookalikes = { "s<>l.<base64url:40>" },
  },
}
