-- SPDX-License-Identifier: Apache-2.0
--- Processes and their TLS libraries (plainsight.tls.discover) as text and as JSON.
local buffer = require "string.buffer"
local escape = require "plainsight.output.escape"
local json = require "plainsight.output.json"

local _M = {}

--- One word, whatever is in it; "-" for nothing.
function _M.word(text)
  if not text or text == "" then return "-" end
  local buf = buffer.new()
  escape.put(buf, text, #text, escape.WORD)
  return buf:get()
end

local word = _M.word

-- Text of our own and what others have put into it, on one line.
local function remark(text)
  local buf = buffer.new()
  escape.put(buf, text, #text, escape.LINE)
  return buf:get()
end

local ROW = "%7s %-15s %-9s %-10s %-6s %-5s %s"

--- Heading of the text.
_M.HEADING = ROW:format("PID", "COMM", "LIBRARY", "VERSION", "LINK", "TRACE", "PATH") .. "\n"

local function row(process, columns, remarks)
  local line = ROW:format(process.pid, word(process.comm), columns[1], columns[2], columns[3], columns[4], columns[5])
  if #remarks > 0 then line = ("%s (%s)"):format(line, remark(table.concat(remarks, "; "))) end
  return line .. "\n"
end

local function library_row(process, library)
  local remarks = {}
  if library.deleted then remarks[1] = "deleted" end
  remarks[#remarks + 1] = library.reason
  if library.slow and #library.slow > 0 then
    remarks[#remarks + 1] = "slow: " .. table.concat(library.slow, ", ")
  end
  return row(process, {
    word(library.title), word(library.version), library.static and "static" or "shared",
    library.traceable and "yes" or "no", word(library.path),
  }, remarks)
end

--- One line for each TLS library of a process.
-- @param process see plainsight.tls.discover
-- @param opts table: all (boolean: a process without TLS has a line as well, and one for each file that could not be
--   examined)
-- @return string, empty or of whole lines
function _M.text(process, opts)
  local lines = {}
  for _, library in ipairs(process.libraries) do lines[#lines + 1] = library_row(process, library) end
  if not opts.all or process.memoryless then return table.concat(lines) end
  if process.refused then
    return row(process, { "?", "?", "?", "?", word(process.exe) }, { process.refused })
  end
  for _, file in ipairs(process.unread) do
    lines[#lines + 1] = row(process, { "?", "?", "?", "?", word(file.path) }, { file.reason })
  end
  if #lines == 0 then lines[1] = row(process, { "-", "-", "-", "-", word(process.exe) }, {}) end
  return table.concat(lines)
end

local function list_of(items, convert)
  local list = {}
  for i, item in ipairs(items) do list[i] = convert and convert(item) or item end
  return #list > 0 and list or json.EMPTY_LIST
end

local function library_object(library)
  return {
    type = library.type, library = library.title, version = library.version, build_id = library.build_id,
    link = library.static and "static" or "shared", traceable = library.traceable, reason = library.reason,
    path = library.path, deleted = library.deleted, slow = library.slow and list_of(library.slow),
    device = ("%d:%d"):format(library.file.dev_major, library.file.dev_minor), inode = library.file.inode,
  }
end

--- A process as one line of JSON: docs/json.md.
-- @param process see plainsight.tls.discover
-- @return string that ends in a line feed
function _M.json(process)
  return json.report("process", {
    pid = process.pid, comm = process.comm, exe = process.exe, refused = process.refused,
    libraries = list_of(process.libraries, library_object),
    unread = list_of(process.unread, function(file) return { path = file.path, reason = file.reason } end),
    unread_files = process.unread_count,
  })
end

return _M
