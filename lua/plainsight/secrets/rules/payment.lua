-- SPDX-License-Identifier: Apache-2.0
--- Payment services and shops.
local p = require "plainsight.secrets.patterns"

local square = { "*.squareup.com", "*.squareupsandbox.com", "*.square.com" }

return {
  {
    id = "stripe-live-key", description = "Stripe or Paystack secret key", severity = "critical", kind = "credential",
    pattern = p.token "[sr]k_live_[A-Za-z0-9]{16,247}", entropy = 3, keywords = { "sk_live_", "rk_live_" },
    providers = { "*.stripe.com", "*.paystack.co" },
    examples = { "Bearer s<>k_live_<alnum:24>", "r<>k_live_<alnum:99>" },
    lookalikes = { "p<>k_live_<alnum:24>", "s<>k_live_<alnum:8>" },
  },
  {
    id = "stripe-test-key", description = "Stripe or Paystack secret key of the test mode", severity = "low",
    kind = "credential", pattern = p.token "[sr]k_test_[A-Za-z0-9]{16,247}", entropy = 3,
    keywords = { "sk_test_", "rk_test_" }, providers = { "*.stripe.com", "*.paystack.co" },
    examples = { "s<>k_test_<alnum:24>" },
    lookalikes = { "p<>k_test_<alnum:24>" },
  },
  {
    id = "webhook-signing-secret", description = "Webhook signing secret (Stripe, Svix)", severity = "high",
    kind = "credential", pattern = p.base64_token "whsec_[A-Za-z0-9+/]{24,64}={0,2}", entropy = 3.5,
    keywords = { "whsec_" },
    examples = { "wh<>sec_<alnum:32>", "wh<>sec_<base64:43>=" },
    lookalikes = { "wh<>sec_<alnum:10>" },
  },
  {
    id = "square-token", description = "Square access token or application secret", severity = "critical",
    kind = "credential",
    pattern = p.token "(?:EAAA[A-Za-z0-9_-]{60}|sq0csp-[A-Za-z0-9_-]{43}|sq0atp-[A-Za-z0-9_-]{22})", entropy = 3.5,
    keywords = { "eaaa", "sq0csp-", "sq0atp-" }, providers = square,
    examples = { "Bearer EA<>AA<alnum:60>", "sq<>0csp-<base64url:43>", "sq<>0atp-<base64url:22>" },
    lookalikes = { "EA<>AA<alnum:20>", "sq<>0idp-<base64url:22>" },
  },
  {
    id = "braintree-token", description = "PayPal Braintree access token", severity = "critical", kind = "credential",
    pattern = "\\b(access_token\\$(?:production|sandbox)\\$[a-z0-9]{16}\\$[a-f0-9]{32})\\b",
    keywords = { "access_token$" }, providers = { "*.braintreegateway.com", "*.paypal.com", "*.braintree-api.com" },
    examples = { "access<>_token$production$<loweralnum:16>$<hex:32>" },
    lookalikes = { "access<>_token$production$<loweralnum:8>$<hex:32>" },
  },
  {
    id = "plaid-token", description = "Plaid access token", severity = "critical", kind = "credential",
    pattern = p.token("access-(?:production|sandbox|development)-"
      .. "[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}"),
    keywords = { "access-production-", "access-sandbox-", "access-development-" }, providers = { "*.plaid.com" },
    examples = { '"access_token":"access<>-production-<uuid>"' },
    lookalikes = { "access<>-log-<uuid>" },
  },
  {
    id = "flutterwave-key", description = "Flutterwave secret key", severity = "critical", kind = "credential",
    pattern = p.token "FLWSECK(?:_TEST)?-[a-hA-H0-9]{32}-X", keywords = { "flwseck" },
    providers = { "*.flutterwave.com" },
    examples = { "Bearer FLW<>SECK-<hex:32>-X" },
    lookalikes = { "FLW<>PUBK-<hex:32>-X" },
  },
  {
    id = "razorpay-key", description = "Razorpay key id", severity = "medium", kind = "credential",
    pattern = p.token "rzp_(?:live|test)_[A-Za-z0-9]{14}", keywords = { "rzp_live_", "rzp_test_" },
    providers = { "*.razorpay.com" },
    examples = { "rz<>p_live_<alnum:14>" },
    lookalikes = { "rz<>p_live_<alnum:8>" },
  },
  {
    id = "shippo-token", description = "Shippo API token", severity = "high", kind = "credential",
    pattern = p.token "shippo_(?:live|test)_[a-f0-9]{40}", keywords = { "shippo_" }, providers = { "*.goshippo.com" },
    examples = { "ShippoToken ship<>po_live_<hex:40>" },
    lookalikes = { "ship<>po_live_<hex:20>" },
  },
  {
    id = "easypost-key", description = "EasyPost API key", severity = "high", kind = "credential",
    pattern = p.token "EZ[AT]K[A-Za-z0-9]{54}", entropy = 3.5, keywords = { "ezak", "eztk" },
    providers = { "*.easypost.com" },
    examples = { "EZ<>AK<alnum:54>" },
    lookalikes = { "EZ<>AK<alnum:30>" },
  },
  {
    id = "shopify-token", description = "Shopify token or shared secret", severity = "critical", kind = "credential",
    pattern = p.token "shp(?:at|ca|pa|ss|tka|ua)_[A-Fa-f0-9]{32}",
    keywords = { "shpat_", "shpca_", "shppa_", "shpss_", "shptka_", "shpua_" },
    providers = { "*.myshopify.com", "*.shopify.com" },
    examples = { "X-Shopify-Access-Token: shp<>at_<hex:32>" },
    lookalikes = { "shp<>at_<hex:20>" },
  },
}
