-- SPDX-License-Identifier: Apache-2.0
--- Version control, builds, package registries.
local p = require "plainsight.secrets.patterns"

local github = { "github.com", "*.github.com", "*.githubusercontent.com", "ghcr.io", "*.githubcopilot.com" }
local atlassian = { "bitbucket.org", "*.bitbucket.org", "*.atlassian.com", "*.atlassian.net" }

return {
  {
    id = "github-token", description = "GitHub personal access, OAuth, app or refresh token", severity = "critical",
    kind = "credential", pattern = p.token "gh[pousr]_[A-Za-z0-9]{36,255}", entropy = 3,
    keywords = { "ghp_", "gho_", "ghu_", "ghs_", "ghr_" }, providers = github,
    examples = { "Authorization: token gh<>p_<alnum:36>", "gh<>s_<alnum:36>", "gh<>r_<alnum:76>" },
    lookalikes = { "gh<>p_<alnum:30>", "gh<>p_<x:36>", "xgh<>p_<alnum:36>" },
  },
  {
    id = "github-fine-grained-token", description = "GitHub fine-grained personal access token", severity = "critical",
    kind = "credential", pattern = p.token "github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}", entropy = 3,
    keywords = { "github_pat_" }, providers = github,
    examples = { "github<>_pat_<alnum:22>_<alnum:59>" },
    lookalikes = { "github<>_pat_<alnum:22>_<alnum:40>" },
  },
  {
    id = "gitlab-token", description = "GitLab token", severity = "critical", kind = "credential",
    pattern = p.token("(?:gl(?:pat|dt|rt|soat|imt|agent|ft|oas|wt|cbt|ffct)-[A-Za-z0-9_-]{20,64}"
      .. "(?:[.][A-Za-z0-9_-]{2}[.][A-Za-z0-9_-]{9})?|glptt-[a-f0-9]{40}|GR1348941[A-Za-z0-9_-]{20})"),
    entropy = 3,
    keywords = { "glpat-", "gldt-", "glrt-", "glsoat-", "glimt-", "glagent-", "glft-", "gloas-", "glwt-", "glcbt-",
      "glffct-", "glptt-", "gr1348941" },
    examples = { "PRIVATE-TOKEN: gl<>pat-<alnum:20>", "gl<>ptt-<hex:40>", "gl<>rt-<base64url:20>" },
    lookalikes = { "gl<>pat-<alnum:12>", "gl<>pat-<x:20>" },
  },
  {
    id = "bitbucket-token", description = "Bitbucket or Atlassian token", severity = "critical", kind = "credential",
    pattern = p.base64_token "(?:ATBB[A-Za-z0-9]{32}|AT[AC]TT3[A-Za-z0-9_=-]{60,250})", entropy = 3.5,
    keywords = { "atbb", "atatt3", "atctt3" }, providers = atlassian,
    examples = { "AT<>BB<alnum:32>", "AT<>ATT3<base64url:180>=<HEX:8>" },
    lookalikes = { "AT<>BB<alnum:20>" },
  },
  {
    id = "npm-token", description = "npm access token", severity = "critical", kind = "credential",
    pattern = p.token "npm_[A-Za-z0-9]{36}", entropy = 3.2, keywords = { "npm_" },
    providers = { "*.npmjs.org", "*.npmjs.com" },
    examples = { "//registry.test/:_authToken=np<>m_<alnum:36>" },
    lookalikes = { "np<>m_<alnum:20>", "np<>m_config_<lower:30>" },
  },
  {
    id = "pypi-token", description = "PyPI upload token", severity = "critical", kind = "credential",
    pattern = p.token "pypi-AgE(?:IcHlwaS5vcmc|NdGVzdC5weXBpLm9yZw)[A-Za-z0-9_-]{50,}",
    keywords = { "pypi-age" }, providers = { "*.pypi.org", "pypi.org" },
    examples = { "py<>pi-AgEIcHlwaS5vcmc<base64url:140>" },
    lookalikes = { "py<>pi-AgEIcHlwaS5vcmc<base64url:20>" },
  },
  {
    id = "rubygems-token", description = "RubyGems API key", severity = "critical", kind = "credential",
    pattern = p.token "rubygems_[a-f0-9]{48}", keywords = { "rubygems_" }, providers = { "rubygems.org",
      "*.rubygems.org" },
    examples = { "Authorization: ruby<>gems_<hex:48>" },
    lookalikes = { "ruby<>gems_<hex:40>" },
  },
  {
    id = "nuget-token", description = "NuGet API key", severity = "critical", kind = "credential",
    pattern = p.token "oy2[a-z0-9]{43}", entropy = 3.5, keywords = { "oy2" }, providers = { "*.nuget.org" },
    examples = { "X-NuGet-ApiKey: oy<>2<loweralnum:43>" },
    lookalikes = { "oy<>2<loweralnum:30>" },
  },
  {
    id = "docker-hub-token", description = "Docker Hub access token", severity = "critical", kind = "credential",
    pattern = p.token "dckr_[po]at_[A-Za-z0-9_-]{27,32}", entropy = 3, keywords = { "dckr_pat_", "dckr_oat_" },
    providers = { "*.docker.io", "*.docker.com" },
    examples = { "dckr<>_pat_<base64url:27>" },
    lookalikes = { "dckr<>_pat_<base64url:12>" },
  },
  {
    id = "artifactory-token", description = "JFrog API key or reference token", severity = "high",
    kind = "credential", pattern = p.token "(?:AKCp[A-Za-z0-9]{69}|cmVmdGtu[A-Za-z0-9]{56})", entropy = 3.5,
    keywords = { "akcp", "cmvmdgtu" },
    examples = { "X-JFrog-Art-Api: AK<>Cp<alnum:69>", "cmVm<>dGtu<alnum:56>" },
    lookalikes = { "AK<>Cp<alnum:40>" },
  },
  {
    id = "circleci-token", description = "CircleCI token", severity = "high", kind = "credential",
    pattern = p.token "CCI(?:PAT|PRJ)_[A-Za-z0-9]{22}_[a-f0-9]{40}", keywords = { "ccipat_", "cciprj_" },
    providers = { "circleci.com", "*.circleci.com" },
    examples = { "Circle-Token: CCI<>PAT_<alnum:22>_<hex:40>" },
    lookalikes = { "CCI<>PAT_<alnum:22>" },
  },
  {
    id = "buildkite-token", description = "Buildkite token", severity = "high", kind = "credential",
    pattern = p.token "bkua_[a-f0-9]{40}", keywords = { "bkua_" }, providers = { "*.buildkite.com" },
    examples = { "Bearer bk<>ua_<hex:40>" },
    lookalikes = { "bk<>ua_<hex:20>" },
  },
  {
    id = "sonar-token", description = "SonarQube token", severity = "high", kind = "credential",
    pattern = p.token "sq[uap]_[a-f0-9]{40}", keywords = { "squ_", "sqa_", "sqp_" },
    examples = { "sq<>p_<hex:40>" },
    lookalikes = { "sq<>p_<hex:32>" },
  },
  {
    id = "postman-key", description = "Postman API key", severity = "high", kind = "credential",
    pattern = p.token "PMAK-[a-f0-9]{24}-[a-f0-9]{34}", keywords = { "pmak-" },
    providers = { "*.getpostman.com", "*.postman.com" },
    examples = { "X-API-Key: PM<>AK-<hex:24>-<hex:34>" },
    lookalikes = { "PM<>AK-<hex:24>-<hex:10>" },
  },
  {
    id = "figma-token", description = "Figma access token", severity = "high", kind = "credential",
    pattern = p.token "figd_[A-Za-z0-9_-]{38,60}", entropy = 3.5, keywords = { "figd_" }, providers = { "*.figma.com" },
    examples = { "X-Figma-Token: fi<>gd_<base64url:40>" },
    lookalikes = { "fi<>gd_<alnum:10>" },
  },
  {
    id = "notion-token", description = "Notion integration token", severity = "high", kind = "credential",
    pattern = p.token "(?:ntn_[A-Za-z0-9]{46}|secret_[A-Za-z0-9]{43})", entropy = 4, keywords = { "ntn_", "secret_" },
    providers = { "*.notion.com", "*.notion.so" },
    examples = { "Bearer nt<>n_<digit:11><alnum:35>", "sec<>ret_<alnum:43>" },
    lookalikes = { "nt<>n_<alnum:20>", "secret_<lower:12>" },
  },
  {
    id = "linear-key", description = "Linear API key", severity = "high", kind = "credential",
    pattern = p.token "lin_(?:api|oauth)_[A-Za-z0-9]{40,64}", entropy = 3.5, keywords = { "lin_api_", "lin_oauth_" },
    providers = { "*.linear.app" },
    examples = { "Authorization: li<>n_api_<alnum:40>" },
    lookalikes = { "li<>n_api_<alnum:20>" },
  },
  {
    id = "airtable-token", description = "Airtable personal access token", severity = "high", kind = "credential",
    pattern = p.token "pat[A-Za-z0-9]{14}[.][a-f0-9]{64}", keywords = { "pat" }, providers = { "*.airtable.com" },
    examples = { "Bearer pa<>t<alnum:14>.<hex:64>" },
    lookalikes = { "pa<>t<alnum:14>.<hex:40>" },
  },
  {
    id = "launchdarkly-key", description = "LaunchDarkly SDK or API key", severity = "high", kind = "credential",
    pattern = p.token "(?:sdk|api)-[a-f0-9]{8}-[a-f0-9]{4}-[1-5][a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}",
    entropy = 3, keywords = { "sdk-", "api-" }, providers = { "*.launchdarkly.com" },
    examples = { "Authorization: sd<>k-<uuid>" },
    lookalikes = { "request-<uuid>" },
  },
  {
    id = "contentful-token", description = "Contentful management token", severity = "high", kind = "credential",
    pattern = p.token "CFPAT-[A-Za-z0-9_-]{43}", entropy = 3.5, keywords = { "cfpat-" },
    providers = { "*.contentful.com" },
    examples = { "Bearer CF<>PAT-<base64url:43>" },
    lookalikes = { "CF<>PAT-<base64url:20>" },
  },
  {
    id = "1password-token", description = "1Password service account token", severity = "critical",
    kind = "credential", pattern = p.base64_token "ops_eyJ[A-Za-z0-9+/_-]{200,}={0,3}", keywords = { "ops_eyj" },
    entropy = 3.5, priority = 2,
    providers = { "*.1password.com" },
    examples = { "op<>s_eyJ<alnum:600>" },
    lookalikes = { "op<>s_eyJ<alnum:60>" },
  },
  {
    id = "okta-token", description = "Okta API token", severity = "critical", kind = "credential",
    pattern = "(?i:ssws)[ \\t]{1,4}(00[A-Za-z0-9_-]{38,40})(?:[^A-Za-z0-9_-]|$)", entropy = 3.5, keywords = { "ssws" },
    priority = 1,
    providers = { "*.okta.com", "*.oktapreview.com" },
    examples = { "Authorization: SS<>WS 00<base64url:40>" },
    lookalikes = { "00<base64url:40>" },
  },
}
