-- SPDX-License-Identifier: Apache-2.0
--- Services that run models.
local p = require "plainsight.secrets.patterns"

return {
  {
    id = "openai-key", description = "OpenAI API key", severity = "critical", kind = "credential",
    pattern = p.token("sk-(?:(?:proj|svcacct|admin|service)-[A-Za-z0-9_-]{20,100})?[A-Za-z0-9_-]{0,20}T3BlbkFJ"
      .. "[A-Za-z0-9_-]{20,100}"),
    entropy = 3.5, keywords = { "t3blbkfj" }, providers = { "*.openai.com", "*.openai.azure.com" },
    examples = { "Bearer s<>k-<alnum:20>T3Blbk<>FJ<alnum:20>", "s<>k-proj-<base64url:74>T3Blbk<>FJ<base64url:74>" },
    lookalikes = { "s<>k-<alnum:20>", "s<>k-proj-<alnum:20>" },
  },
  {
    id = "anthropic-key", description = "Anthropic API key", severity = "critical", kind = "credential",
    pattern = p.token "sk-ant-(?:api|admin|oat|ort)\\d\\d-[A-Za-z0-9_-]{80,120}", entropy = 3.5,
    keywords = { "sk-ant-" }, providers = { "*.anthropic.com", "*.claude.ai", "claude.ai" },
    examples = { "x-api-key: s<>k-ant-api03-<base64url:93>AA" },
    lookalikes = { "s<>k-ant-api03-<base64url:20>" },
  },
  {
    id = "huggingface-token", description = "Hugging Face access token", severity = "high", kind = "credential",
    pattern = p.token "(?:hf_|api_org_)[A-Za-z]{34}", entropy = 3.2, keywords = { "hf_", "api_org_" },
    providers = { "huggingface.co", "*.huggingface.co" },
    examples = { "Bearer h<>f_<letter:34>" },
    lookalikes = { "h<>f_<letter:20>", "h<>f_<a:34>" },
  },
  {
    id = "replicate-token", description = "Replicate API token", severity = "high", kind = "credential",
    pattern = p.token "r8_[A-Za-z0-9]{37}", entropy = 3.5, keywords = { "r8_" }, providers = { "*.replicate.com" },
    examples = { "Bearer r<>8_<alnum:37>" },
    lookalikes = { "r<>8_<alnum:20>" },
  },
  {
    id = "groq-key", description = "Groq API key", severity = "high", kind = "credential",
    pattern = p.token "gsk_[A-Za-z0-9]{52}", entropy = 3.5, keywords = { "gsk_" }, providers = { "*.groq.com" },
    examples = { "Bearer gs<>k_<alnum:52>" },
    lookalikes = { "gs<>k_<alnum:30>" },
  },
  {
    id = "perplexity-key", description = "Perplexity API key", severity = "high", kind = "credential",
    pattern = p.token "pplx-[A-Za-z0-9]{48}", entropy = 3.5, keywords = { "pplx-" },
    providers = { "*.perplexity.ai" },
    examples = { "Bearer pp<>lx-<alnum:48>" },
    lookalikes = { "pp<>lx-<alnum:20>" },
  },
  {
    id = "xai-key", description = "xAI API key", severity = "high", kind = "credential",
    pattern = p.token "xai-[A-Za-z0-9]{80}", entropy = 3.5, keywords = { "xai-" }, providers = { "*.x.ai" },
    examples = { "Bearer xa<>i-<alnum:80>" },
    lookalikes = { "xa<>i-<alnum:40>" },
  },
  {
    id = "openrouter-key", description = "OpenRouter API key", severity = "high", kind = "credential",
    pattern = p.token "sk-or-v1-[a-f0-9]{64}", keywords = { "sk-or-v1-" }, providers = { "openrouter.ai" },
    examples = { "Bearer s<>k-or-v1-<hex:64>" },
    lookalikes = { "s<>k-or-v1-<hex:32>" },
  },
}
