-- SPDX-License-Identifier: Apache-2.0
--- HTTP requests by libcurl's multi interface, so that nothing waits for a server. No function of ours is called back
-- from C: what comes in goes to memory of fixed size, and perform() looks what has ended.
local ffi = require "ffi"
local sys = require "plainsight.sys"

local _M = {}
local C = ffi.C

ffi.cdef [[
typedef struct ps_curl ps_curl;
typedef struct ps_curl_multi ps_curl_multi;
struct ps_curl_list { char *data; struct ps_curl_list *next; };
struct ps_curl_message { int kind; ps_curl *easy; union { void *pointer; int result; } data; };
int curl_global_init(long flags);
ps_curl *curl_easy_init(void);
void curl_easy_cleanup(ps_curl *easy);
int curl_easy_setopt(ps_curl *easy, int option, ...);
int curl_easy_getinfo(ps_curl *easy, int info, ...);
const char *curl_easy_strerror(int result);
struct ps_curl_list *curl_slist_append(struct ps_curl_list *list, const char *text);
void curl_slist_free_all(struct ps_curl_list *list);
ps_curl_multi *curl_multi_init(void);
int curl_multi_cleanup(ps_curl_multi *multi);
int curl_multi_add_handle(ps_curl_multi *multi, ps_curl *easy);
int curl_multi_remove_handle(ps_curl_multi *multi, ps_curl *easy);
int curl_multi_perform(ps_curl_multi *multi, int *running);
int curl_multi_wait(ps_curl_multi *multi, void *fds, unsigned count, int timeout_ms, int *ready);
struct ps_curl_message *curl_multi_info_read(ps_curl_multi *multi, int *left);
struct ps_file;
struct ps_file *fmemopen(void *memory, size_t size, const char *mode);
void setbuf(struct ps_file *file, char *memory);
int fclose(struct ps_file *file);
long ftell(struct ps_file *file);
]]

-- curl/curl.h: CURLOPT_*, CURLINFO_*.
local OPT = {
  WRITEDATA = 10001, URL = 10002, ERRORBUFFER = 10010, POSTFIELDS = 10015, USERAGENT = 10018, HTTPHEADER = 10023,
  FOLLOWLOCATION = 52, POSTFIELDSIZE = 60, CAINFO = 10065, NOSIGNAL = 99, TIMEOUT_MS = 155, CONNECTTIMEOUT_MS = 156,
  PROTOCOLS = 181, POST = 47,
}
local INFO = { RESPONSE_CODE = 0x200002, RETRY_AFTER = 0x600039 }
local GLOBAL_DEFAULT, MESSAGE_DONE, PROTOCOLS_HTTP = 3, 1, 3
local RESULT_WRITE_ERROR = 23
local ERROR_BYTES, ANSWER_BYTES_MAX, CONNECT_MS = 256, 65536, 5000

local Client = {}
Client.__index = Client

local libraries = { "libcurl.so.4", "libcurl-gnutls.so.4" }

local function open_library()
  for _, name in ipairs(libraries) do
    local ok, lib = pcall(ffi.load, name)
    if ok then return lib end
  end
  return nil, "libcurl is missing: install the package libcurl4"
end

--- Begin.
-- @param opts table: user_agent (string), timeout_ms (number, of a request), ca_file (string or nil)
-- @return client, or nil and a message
function _M.new(opts)
  local lib, err = open_library()
  if not lib then return nil, err end
  if lib.curl_global_init(GLOBAL_DEFAULT) ~= 0 then return nil, "libcurl does not start" end
  local multi = lib.curl_multi_init()
  if multi == nil then return nil, "libcurl: out of memory" end
  return setmetatable({ lib = lib, multi = multi, opts = opts, transfers = {}, active = 0 }, Client)
end

local function long(value) return ffi.cast("long", value) end
local function pointer(text) return ffi.cast("const char *", text) end

function Client:set(transfer, url, body, headers)
  local lib, easy, opts = self.lib, transfer.easy, self.opts
  local function set(option, value) lib.curl_easy_setopt(easy, option, value) end
  for _, line in ipairs(headers) do transfer.list = lib.curl_slist_append(transfer.list, line) end
  set(OPT.URL, pointer(url))
  set(OPT.PROTOCOLS, long(PROTOCOLS_HTTP))
  set(OPT.NOSIGNAL, long(1))
  set(OPT.POST, long(1))
  set(OPT.POSTFIELDSIZE, long(#body))
  set(OPT.POSTFIELDS, pointer(body)) -- libcurl reads it where it is: transfer.body keeps it
  set(OPT.HTTPHEADER, transfer.list)
  set(OPT.USERAGENT, pointer(opts.user_agent))
  set(OPT.FOLLOWLOCATION, long(0))
  set(OPT.TIMEOUT_MS, long(opts.timeout_ms))
  set(OPT.CONNECTTIMEOUT_MS, long(math.min(CONNECT_MS, opts.timeout_ms)))
  set(OPT.ERRORBUFFER, transfer.error)
  set(OPT.WRITEDATA, ffi.cast("void *", transfer.file))
  if opts.ca_file then set(OPT.CAINFO, pointer(opts.ca_file)) end
end

--- Begin to send a request.
-- @param url string
-- @param body string
-- @param headers list of strings: "Name: value"
-- @param done function(result), called by perform(): status (number; 0: there was no answer), body (string, its first
--   64 KiB), retry_after_s (number, 0: not said), err (string when there was no answer)
-- @return true, or nil and a message
function Client:post(url, body, headers, done)
  local transfer = {
    easy = self.lib.curl_easy_init(), body = body, done = done, error = ffi.new("char[?]", ERROR_BYTES),
    answer = ffi.new("char[?]", ANSWER_BYTES_MAX),
  }
  if transfer.easy == nil then return nil, "libcurl: out of memory" end
  transfer.file = C.fmemopen(transfer.answer, ANSWER_BYTES_MAX, "w")
  if transfer.file == nil then
    self.lib.curl_easy_cleanup(transfer.easy)
    return sys.failed("fmemopen")
  end
  C.setbuf(transfer.file, nil)
  self:set(transfer, url, body, headers)
  self.transfers[#self.transfers + 1] = transfer
  self.lib.curl_multi_add_handle(self.multi, transfer.easy)
  self.active = #self.transfers
  return true
end

function Client:take(easy)
  for i, transfer in ipairs(self.transfers) do
    if transfer.easy == easy then
      table.remove(self.transfers, i)
      self.active = #self.transfers
      return transfer
    end
  end
end

function Client:release(transfer)
  self.lib.curl_multi_remove_handle(self.multi, transfer.easy)
  self.lib.curl_easy_cleanup(transfer.easy)
  self.lib.curl_slist_free_all(transfer.list)
  C.fclose(transfer.file)
end

function Client:result(transfer, code)
  local status, retry_after = ffi.new("long[1]"), ffi.new("int64_t[1]")
  self.lib.curl_easy_getinfo(transfer.easy, INFO.RESPONSE_CODE, status)
  self.lib.curl_easy_getinfo(transfer.easy, INFO.RETRY_AFTER, retry_after)
  local result = { status = tonumber(status[0]), retry_after_s = tonumber(retry_after[0]) }
  local len = tonumber(C.ftell(transfer.file))
  result.body = ffi.string(transfer.answer, math.max(0, math.min(len, ANSWER_BYTES_MAX)))
  -- An answer that is too long is one.
  if code ~= 0 and not (code == RESULT_WRITE_ERROR and result.status > 0) then
    local text = ffi.string(transfer.error)
    text = text ~= "" and text or ffi.string(self.lib.curl_easy_strerror(code))
    result.err, result.status = text:gsub(" after %d+ ms", ""), 0
  end
  return result
end

--- Go on with what can go on without waiting, and tell of what has ended.
function Client:perform()
  if self.active == 0 then return end
  local number = ffi.new("int[1]")
  self.lib.curl_multi_perform(self.multi, number)
  while true do
    local message = self.lib.curl_multi_info_read(self.multi, number)
    if message == nil then return end
    if message.kind == MESSAGE_DONE then
      local code = message.data.result
      local transfer = self:take(message.easy)
      local result = self:result(transfer, code)
      self:release(transfer)
      transfer.done(result)
    end
  end
end

--- Wait until something can go on.
-- @param ms number: how long at most
function Client:wait(ms)
  self.lib.curl_multi_wait(self.multi, nil, 0, ms, nil)
end

--- Give up what is under way; nobody is told.
function Client:close()
  for _, transfer in ipairs(self.transfers) do self:release(transfer) end
  self.transfers, self.active = {}, 0
  self.lib.curl_multi_cleanup(self.multi)
end

return _M
