-- SPDX-License-Identifier: Apache-2.0
--- Personal data. Numbers of which every tenth or so would pass its check by chance are looked for only near a word
-- that says what they are (keywords), as such words stand in the same text.

local p = require "plainsight.secrets.patterns"

-- A number that stands alone, not a part of a longer one, of a hash or of a decimal fraction.
local function number(body)
  return "(?:^|[^A-Za-z0-9_.+-]|[^0-9][.])(" .. body .. ")(?:[^A-Za-z0-9_.-]|[.](?:[^0-9]|$)|$)"
end

-- A number behind the name of its field, or behind a word that says what it is: for numbers whose check one of ten or
-- eleven passes by chance.
local function named(names, body)
  return "(?i:(?:^|[^A-Za-z])" .. names .. "(?:[ _.-]?(?:number|nummer|num|no|nr|id|value))?)(?:" .. p.BETWEEN
    .. "|[ \\t]{0,3}[:#]?[ \\t]{1,3})(" .. body .. ")(?:[^A-Za-z0-9_.-]|[.](?:[^0-9]|$)|$)"
end

-- Fields whose numbers are none of these, whatever they look like.
local no_card = {
  patterns = { "(?i)(?:order|payment|invoice|transaction|tracking|message|event|user|customer|request|session|trace"
    .. "|product|item|"
    .. "shipment|reference|ticket|batch|job|object|document|external|parent)[_.-]?(?:id|no|nr|ref|number|key|ts|time)"
    .. "[\"'\\]]{0,3}[ \\t]{0,3}[:=>]", "(?i)(?:created|updated|modified|expires|timestamp|time|date)(?:[_-]?(?:at"
    .. "|on|ms|ns|us))?[\"']?[ ]?[:=>]",
    "(?i)^_?id[\"']?[ ]?[:=>]", "(?i)(?:tracking|serial|imei|ean|gtin|isbn|barcode|snowflake|nonce|hash|checksum"
      .. "|offset)[a-z_-]{0,10}[\"']?[ ]?"
      .. "[:=>]" },
  target = "match",
}

-- The end of the name of a field for a phone number: a word, or one of a name in camel case; not "hotel", "microphone".
local PHONE_NAME = "(?:(?:^|[^A-Za-z])(?i:phone|mobile|cell|tel(?:ephone)?|fax)|[a-z](?:Phone|Mobile|Cell"
  .. "|Tel(?:ephone)?|Fax)|(?i:(?:cell|contact|customer|home|mobile|my|office|tele|user|work)phone|msisdn|whatsapp))"

local placeholder_mail = {
  "(?i)[@.](?:example|test|invalid|localhost|local|internal|lan|sentry)(?:[.](?:com|org|net|io))?$",
  "(?i)^(?:git|noreply|no-reply|donotreply|do-not-reply|mailer-daemon|postmaster|bounces?|notifications?)@",
  "(?i)\\.(?:png|jpe?g|gif|svg|webp|avif|ico|css|scss|m?js|mjs|jsx|tsx?|map|woff2?|ttf|json|html?|php|tar|gz|zip|md)$",
  "(?i)@(?:media|import|keyframes|charset|layer|supports)",
  "(?i)^(?:you|your|user|username|name|email|mail|someone|foo|bar|test|me|john\\.?doe|jane\\.?doe)@(?:domain|company"
    .. "|email|mail|host|site|yourdomain|yourcompany|server)\\.",
}

return {
  {
    id = "payment-card", description = "Payment card number (ISO/IEC 7812)", severity = "high", kind = "personal",
    check = "payment-card",
    keywords = { "card", "visa", "mastercard", "amex", "discover", "jcb", "payment", "pay", "cvv", "cvc", "credit",
      "debit", "billing", "checkout", "\"pan\"", "'pan'", "pan=", "pan:", "<pan", "ccnum", "cc_num", "cc-num", "cc=",
        "\"cc\"", "iin" },
    pattern = "(?:[A-Za-z0-9_.-]{1,40}[\"'\\]]{0,3}[ \\t]{0,3}[:=>][ \\t]{0,3}[\"']?|^|[^A-Za-z0-9_.+-]|[^0-9][.])("
      .. "\\d{4}[ +-]?\\d{4}[ +-]?\\d{4}[ +-]?\\d{1,7}|\\d{4}[ +-]\\d{6}[ +-]\\d{4,5}|\\d{12,19})(?:[^A-Za-z0-9_.-]|"
      .. "[.](?:[^0-9]|$)|$)",
    allow = no_card,
    examples = { '{"card":{"number":"4111<>111111111111","cvc":"123"}}', "card=5555 5555<> 5555 4444",
      "cardnumber=3782-822463<>-10005" },
    lookalikes = { '{"card":"4111<>111111111112"}', '{"card_order":"1234<>567890123456"}',
      '{"id":"4111<>111111111111"}',
      "card 0.4111<>111111111111" },
  },
  {
    id = "card-security-code", description = "Security code of a payment card", severity = "high", kind = "personal",
    keywords = { "cvv", "cvc", "cid", "security" },
    pattern = "(?i:(?:^|[^A-Za-z])(?:card[_.-]?)?(?:cvv2?|cvc2?|csc|card[_-]?code|(?:card[_-]?)?security[_-]?code)"
      .. "(?:[_-]?(?:number|code))?)"
      .. p.BETWEEN .. "(\\d{3,4})(?:[\"'&;\\s,<}]|$)",
    examples = { '{"cvc":"12<>3"}', "cvv=98<>76&x=1" },
    lookalikes = { '{"cvcs":1234}', '{"cvv":true}' },
  },
  {
    id = "iban", description = "International bank account number (ISO 13616)", severity = "medium",
    kind = "personal", check = "iban",
    pattern = "(?:^|[^A-Za-z0-9_+/-])([A-Z]{2}\\d{2}(?:[A-Z0-9]{11,30}|(?:[ +-][A-Z0-9]{4}){2,7}(?:[ +-]"
      .. "[A-Z0-9]{1,3})?))(?:[^A-Za-z0-9_+/=]|$)",
    examples = { '"iban":"DE89 3704<> 0044 0532 0130 00"', "GB29NWBK<>60161331926819" },
    lookalikes = { "DE89 3704<> 0044 0532 0130 01", "XX29NWBK<>60161331926819", "AB12<upperalnum:11>0" },
  },
  {
    id = "email-address", description = "E-mail address", severity = "low", kind = "personal", keywords = { "@" },
    priority = -10,
    -- Also a segment of a path; not user and host of a URL, with or without a password, nor of a path as scp has it.
    pattern = "(?:://[^\\s/:@\"'<>\\\\]{0,64}:|^|[^A-Za-z0-9._%+@/-]|(?:^|[^/:])/)([A-Za-z0-9][A-Za-z0-9._+-]{0,63}"
      .. "@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?[.]){1,5}[A-Za-z]{2,18})"
      .. "(?:[^A-Za-z0-9_@.:-]|[.](?:[^A-Za-z0-9]|$)|:(?:[^A-Za-z0-9/~.]|$)|$)",
    allow = { { patterns = placeholder_mail }, { patterns = { "^://" }, target = "match" } },
    examples = { '"email":"ann.lee<>@firm-mail.de"', "mailto:bob<>@corp.co.uk?x", "GET /users/bob<>@corp.co.uk/orders",
      "?to=Bob%20%3Cbob<>@corp.co.uk%3E", "bob<>%2Bnews%40corp.co.uk" },
    lookalikes = { "icon@2x.png", "git@github.com:a/b", "user@example.com", "pkg@1.2.3", "@scope/pkg",
      "logo@header.svg", "https://ann<>@repo.corp.co.uk/a", "ann<>@repo.corp.co.uk:/srv/a.git",
      "ann<>@repo.corp.co.uk:~/a", "postgres://app:password<>@db.corp.co.uk/app" },
  },
  {
    id = "phone-number", description = "Phone number (E.164, or by the name of its field)", severity = "low",
    kind = "personal", priority = -10,
    keywords = { "+", "phone", "mobile", "tel", "cell", "fax", "msisdn", "whatsapp" },
    pattern = "(?:^|[^A-Za-z0-9_+/=.,:)-]|[\"'=>:])(\\+[1-9]\\d{0,2}[ .+-]?(?:\\(0?\\d{1,4}\\)[ .+-]?)?\\d{1,5}(?:"
      .. "[ .+-]?\\d{2,5}){1,4})"
      .. "(?:[^A-Za-z0-9_+=/-]|$)"
      .. "|" .. PHONE_NAME .. "(?i:[_-]?(?:number|no|nr|num|home|work|1|2))?"
      .. p.BETWEEN .. "(\\+?\\(?\\d[\\d ()+.-]{6,18}\\d)(?:[^A-Za-z0-9_-]|$)",
    allow = { { patterns = { "^\\+?(?:\\D*\\d){0,8}\\D*$", "^\\+?(?:\\D*\\d){16,}", "^\\d{4}-\\d\\d-\\d\\d",
      "^(\\+?0{4,}|\\+?1{6,}|\\+?1234567890?)$" } } },
    examples = { "+49 30 901820<>17", '{"phone":"(415) 867<>-5309"}', "mobile=%2B14158<>675309",
      "tel:+4479<>11123456", '{"homePhone":"415 867<> 5309"}', '{"workTel":"030 9018<>2017"}' },
    lookalikes = { "2024-01-01T10:00:00+0200", "1+1234", '{"phone":"1234"}', "a+123456789012", "+1.5",
      '{"hotel":"4158<>675309"}', '{"microphone":4158<>675309}', '{"excel":4158<>675309}', "automobile=4158<>675309" },
  },
  {
    id = "us-ssn", description = "Social security number (United States)", severity = "high", kind = "personal",
    check = "us-ssn", keywords = { "ssn", "social", "taxpayer", "tax_id", "taxid", "itin" },
    pattern = named("(?:[A-Za-z_-]{0,20}ssn|[A-Za-z_-]{0,20}social[ _-]?security|tax[ _-]?payer[ _-]?id|itin)",
      "\\d{3}[ +-]?\\d{2}[ +-]?\\d{4}"),
    examples = { '"ssn":"219-09<>-9998"' },
    lookalikes = { '"ssn":"000-12<>-3456"', '"ssn":"666-12<>-3456"', '"part":"219-09<>-9998"' },
  },
  {
    id = "ca-sin", description = "Social insurance number (Canada)", severity = "high", kind = "personal",
    check = "ca-sin", keywords = { "sin", "insurance" },
    pattern = named("(?:sin|social[ _-]?insurance)", "\\d{3}[ +-]\\d{3}[ +-]\\d{3}|\\d{9}"),
    examples = { '"sin":"130<> 692 544"' },
    lookalikes = { '"sin":"130<> 692 545"', '"basin":"130<> 692 544"' },
  },
  {
    id = "de-tax-id", description = "Steuer-Identifikationsnummer (Germany)", severity = "high", kind = "personal",
    check = "de-tax", keywords = { "steuer", "taxid", "tax_id", "tax-id", "tax id", "idnr", "tin=", "\"tin" },
    pattern = number "\\d{2}[ +]?\\d{3}[ +]?\\d{3}[ +]?\\d{3}",
    examples = { "steuerId=8609574<>2719" },
    lookalikes = { "steuerId=8609574<>2718", "bestellung=8609574<>2719" },
  },
  {
    id = "fr-nir", description = "Numéro de sécurité sociale (France)", severity = "high", kind = "personal",
    check = "fr-nir", keywords = { "nir", "secu", "sécu", "nss", "insee", "social", "vitale" },
    pattern = number "[12478][ +]?\\d{2}[ +]?\\d{2}[ +]?(?:\\d{2}|2[AB])[ +]?\\d{3}[ +]?\\d{3}[ +]?\\d{2}",
    examples = { '"nir":"2550814<>16802538"' },
    lookalikes = { '"nir":"2550814<>16802539"' },
  },
  {
    id = "it-codice-fiscale", description = "Codice fiscale (Italy)", severity = "high", kind = "personal",
    check = "it-cf",
    pattern = "(?:^|[^A-Za-z0-9_+/-])([A-Z]{6}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z]"
      .. "[0-9LMNPQRSTUV]{3}[A-Z])"
      .. "(?:[^A-Za-z0-9_+/=-]|$)",
    examples = { '"cf":"RSSMRA<>85T10A562S"' },
    lookalikes = { '"cf":"RSSMRA<>85T10A562T"' },
  },
  {
    id = "es-dni", description = "DNI or NIE (Spain)", severity = "high", kind = "personal", check = "es-dni",
    keywords = { "dni", "nie", "nif", "documento", "identidad" },
    pattern = "(?i)(?:^|[^A-Za-z0-9_.+/-])((?:\\d{8}|[XYZ]\\d{7})-?[A-HJ-NP-TV-Z])(?:[^A-Za-z0-9_+/=-]|$)",
    examples = { '"dni":"1234<>5678Z"', "nie=X1234<>567L" },
    lookalikes = { '"dni":"1234<>5678A"' },
  },
  {
    id = "nl-bsn", description = "Burgerservicenummer (Netherlands)", severity = "high", kind = "personal",
    check = "nl-bsn", keywords = { "bsn", "burgerservice", "sofinummer" },
    pattern = named("(?:bsn|burgerservice|sofi)", "\\d{9}|\\d{4}[. ]\\d{2}[. ]\\d{3}"),
    examples = { "bsn=1112<>22333" },
    lookalikes = { "bsn=1112<>22334", "order=1112<>22333" },
  },
  {
    id = "be-national-number", description = "Rijksregisternummer (Belgium)", severity = "high", kind = "personal",
    check = "be-national", keywords = { "rijksregister", "registre", "national", "insz", "niss", "rrn" },
    pattern = number "\\d{2}[.]?\\d{2}[.]?\\d{2}-?\\d{3}[.-]?\\d{2}",
    examples = { '"niss":"85.07.30<>-033.28"' },
    lookalikes = { '"niss":"85.07.30<>-033.29"' },
  },
  {
    id = "pl-pesel", description = "PESEL (Poland)", severity = "high", kind = "personal", check = "pl-pesel",
    keywords = { "pesel" }, pattern = named("pesel", "\\d{11}"),
    examples = { "pesel=4405<>1401359" },
    lookalikes = { "pesel=4405<>1401358", "id=4405<>1401359" },
  },
  {
    id = "uk-nhs-number", description = "NHS number (United Kingdom)", severity = "high", kind = "personal",
    check = "uk-nhs", keywords = { "nhs" }, pattern = named("nhs", "\\d{3}[ +-]?\\d{3}[ +-]?\\d{4}"),
    examples = { '"nhsNumber":"943 476<> 5919"' },
    lookalikes = { '"nhsNumber":"943 476<> 5918"' },
  },
  {
    id = "br-cpf", description = "CPF (Brazil)", severity = "high", kind = "personal", check = "br-cpf",
    keywords = { "cpf", "documento", "taxid", "tax_id" }, pattern = number "\\d{3}[.]?\\d{3}[.]?\\d{3}-?\\d{2}",
    examples = { '"cpf":"529.982<>.247-25"' },
    lookalikes = { '"cpf":"529.982<>.247-26"', '"cpf":"111.111<>.111-11"' },
  },
  {
    id = "fi-hetu", description = "Henkilötunnus (Finland)", severity = "high", kind = "personal", check = "fi-hetu",
    keywords = { "hetu", "henkil", "personal", "ssn", "identity" },
    pattern = "(?:^|[^A-Za-z0-9_.+/-])(\\d{6}[-+A-FU-Y]\\d{3}[0-9A-FHJ-NPR-Y])(?:[^A-Za-z0-9_+/=-]|$)",
    examples = { '"hetu":"13105<>2-308T"' },
    lookalikes = { '"hetu":"13105<>2-308U"' },
  },
  {
    id = "se-personnummer", description = "Personnummer (Sweden)", severity = "high", kind = "personal",
    check = "se-person", keywords = { "personnummer", "personnr", "person_nummer", "pnr", "ssn", "personal" },
    pattern = number "(?:19|20)?\\d{6}[-+]?\\d{4}",
    examples = { '"personnummer":"811228<>-9874"' },
    lookalikes = { '"personnummer":"811228<>-9875"' },
  },
  {
    id = "no-fodselsnummer", description = "Fødselsnummer (Norway)", severity = "high", kind = "personal",
    check = "no-fnr", keywords = { "fodselsnummer", "fødselsnummer", "fnr", "personnummer", "ssn" },
    pattern = number "\\d{6} ?\\d{5}",
    examples = { "fnr=010180<>10360" },
    lookalikes = { "fnr=010180<>10361" },
  },
  {
    id = "dk-cpr", description = "CPR-nummer (Denmark)", severity = "high", kind = "personal", check = "dk-cpr",
    keywords = { "cpr", "personnummer" }, pattern = number "\\d{6}-?\\d{4}",
    examples = { '"cpr":"070761<>-4285"' },
    lookalikes = { '"cpr":"070761<>-4286"' },
  },
  {
    id = "ch-ahv", description = "AHV-Nummer (Switzerland)", severity = "high", kind = "personal", check = "ch-ahv",
    keywords = { "756" }, pattern = number "756[.]?\\d{4}[.]?\\d{4}[.]?\\d{2}",
    examples = { '"ahv":"756.9217<>.0769.85"' },
    lookalikes = { '"ahv":"756.9217<>.0769.86"' },
  },
  {
    id = "pt-nif", description = "NIF (Portugal)", severity = "medium", kind = "personal", check = "pt-nif",
    keywords = { "nif", "contribuinte" }, pattern = named("(?:nif|contribuinte)", "\\d{9}|\\d{3}[ +]\\d{3}[ +]\\d{3}"),
    examples = { "nif=123456<>789" },
    lookalikes = { "nif=123456<>780" },
  },
  {
    id = "tr-identity-number", description = "T.C. kimlik numarası (Turkey)", severity = "high", kind = "personal",
    check = "tr-id", keywords = { "kimlik", "tckn", "tcno", "tc_no" }, pattern = named("(?:t[ .]?c[ .]?[ _-]?)?"
      .. "(?:kimlik|tckn|tc[ _-]?no)", "[1-9]\\d{10}"),
    examples = { "tckn=100000<>00146" },
    lookalikes = { "tckn=100000<>00147" },
  },
  {
    id = "in-aadhaar", description = "Aadhaar number (India)", severity = "high", kind = "personal",
    check = "in-aadhaar", keywords = { "aadhaar", "aadhar", "uidai" },
    pattern = number "[2-9]\\d{3}[ +-]?\\d{4}[ +-]?\\d{4}",
    examples = { '"aadhaar":"2345 6789<> 0124"' },
    lookalikes = { '"aadhaar":"2345 6789<> 0125"' },
  },
  {
    id = "cn-identity-number", description = "Resident identity number (China)", severity = "high", kind = "personal",
    check = "cn-id", pattern = "(?:^|[^A-Za-z0-9_.+/-])([1-9]\\d{5}(?:19|20)\\d{2}(?:0[1-9]|1[0-2])(?:[0-2]\\d|3"
      .. "[01])\\d{3}[0-9Xx])"
      .. "(?:[^A-Za-z0-9_.+/=-]|$)",
    examples = { '"idCard":"110105<>19491231002X"' },
    lookalikes = { '"idCard":"110105<>194912310021"' },
  },
  {
    id = "au-tfn", description = "Tax file number (Australia)", severity = "high", kind = "personal",
    check = "au-tfn", keywords = { "tfn", "tax file", "taxfile", "tax_file" }, pattern = named("(?:tfn|tax"
      .. "[ _-]?file)", "\\d{3}[ +]?\\d{3}[ +]?\\d{2,3}"),
    examples = { "tfn=123 456<> 782" },
    lookalikes = { "tfn=123 456<> 783" },
  },
  {
    id = "us-routing-number", description = "Bank routing number (United States)", severity = "low",
    kind = "personal", check = "us-aba", keywords = { "routing", "aba_", "\"aba\"", "aba=" },
      pattern = named("(?:[A-Za-z_-]{0,20}routing|aba)", "\\d{9}"),
    examples = { '"routing_number":"111000<>025"' },
    lookalikes = { '"routing_number":"111000<>026"' },
  },
}
