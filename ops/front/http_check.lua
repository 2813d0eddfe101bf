-- Bounds what the JSON of a request costs to read: 100,000 nested brackets end Triton 2.51.0, and each value costs many
-- times its bytes. Asks for classes only of scores. Registers only segments of shared memory that a client has created.
local DEEPEST = @json_depth@
local MOST_VALUES = @json_values@
local MOST_ESCAPES = @json_escapes@
local UNBOUNDED = '@json_unbounded@'
local ESCAPED_NAME = '@escaped_name@'
local NOT_SCORES = '@not_scores@'

local function is_scores(name)
  return string.sub(name, -7) == "_scores" and not string.find(name, "[%c\\]")
end

-- The end of the string that begins before `at`, nil where it has none, and its number of backslashes.
local function end_of_string(text, at)
  local escapes = 0
  at = string.find(text, '["\\]', at)
  while at ~= nil and string.byte(text, at) == 92 do
    escapes = escapes + 1
    at = string.find(text, '["\\]', at + 2)
  end
  return at, escapes
end

-- Notes the string in the object that holds it; false for a name with escapes, which would pass for another.
local function note(object, text, start, stop, escapes)
  if string.find(text, "^%s*:", stop + 1) then
    if escapes > 0 then
      return false
    end
    object.key = string.sub(text, start, stop - 1)
    object.has_classes = object.has_classes or object.key == "classification"
  elseif object.key == "name" then
    local kind = is_scores(string.sub(text, start, stop - 1)) and "scores" or "others"
    object[kind] = object[kind] + 1
  end
  return true
end

-- The refusal of the JSON, nil for none. Of strings, only those that name something are read.
local function check(text)
  local depth, values, escapes, at = 0, 0, 0, 1
  local open = { [0] = {} }  -- the lists and objects around a place, outermost first
  while true do
    at = string.find(text, '["%[%]{},]', at)
    if at == nil then
      return nil
    end
    local byte = string.byte(text, at)
    if byte == 34 then
      local stop, more = end_of_string(text, at + 1)
      escapes = escapes + more
      if escapes > MOST_ESCAPES then
        return UNBOUNDED
      end
      if stop == nil then
        return nil
      end
      if open[depth].scores and not note(open[depth], text, at + 1, stop, more) then
        return ESCAPED_NAME
      end
      at = stop
    elseif byte == 93 or byte == 125 then
      local closed = open[depth]
      depth = depth - 1
      if depth < 0 then
        return nil
      end
      if closed.asks and (closed.scores == 0 or closed.others > 0) then
        return NOT_SCORES
      end
      -- Parameters ask for the output that holds them.
      open[depth].asks = open[depth].asks or (closed.has_classes and open[depth].scores)
    else
      values = values + 1
      if byte ~= 44 then
        depth = depth + 1
        open[depth] = byte == 123 and { scores = 0, others = 0 } or {}
      end
      if depth > DEEPEST or values > MOST_VALUES then
        return UNBOUNDED
      end
    end
    at = at + 1
  end
end

local function is_own_segment(name)
  return string.find(name, "^/?triptych_client_[0-9a-f]+$") ~= nil and #name >= @segment_characters@
end

-- Without escapes, each name and value of the JSON stands in the text as it is. A region is used by who knows its name,
-- which nobody guesses.
local function names_own_segments(path, text)
  local region = string.match(path, "/region/([^/]+)/register$")
  if region ~= nil and not is_own_segment(region) or string.find(text, "\\", 1, true) then
    return false
  end
  for key in string.gmatch(text, '"key"%s*:%s*"([^"]*)"') do
    if not is_own_segment(key) then
      return false
    end
  end
  return true
end

-- Triton reads the length of the JSON for inferences only, and elsewhere the whole body.
local function read_json(path, headers, body)
  local said = headers:get("inference-header-content-length")
  local size = body:length()
  if not string.find(path, "^/v2/models/.*/infer$") then
    headers:remove("inference-header-content-length")
  elseif said ~= nil and string.find(said, "^%d+$") then
    size = math.min(size, tonumber(said))
  end
  return body:getBytes(0, size)
end

-- The refusal of the request, nil for none.
local function examine(headers, body)
  local path = string.match(headers:get(":path"), "^[^?]*")
  local text = read_json(path, headers, body)
  local refusal = check(text)
  if refusal == nil and string.find(path, "/v2/systemsharedmemory", 1, true) and not names_own_segments(path, text) then
    refusal = '@foreign_segment@'
  end
  return refusal
end

function envoy_on_request(handle)
  local body = handle:body()
  if body == nil then
    return
  end
  -- Envoy passes a request on whose script ends in an error.
  local is_examined, refusal = pcall(examine, handle:headers(), body)
  if not is_examined then
    handle:logErr(refusal)
    refusal = '@unexamined@'
  end
  if refusal ~= nil then
    handle:respond({ [":status"] = "400", ["content-type"] = "application/json" }, refusal)
  end
end

-- What Triton says with 500 about JSON that it cannot read, and about a segment that is not as the caller says.
local UNREADABLE = { "parse", "JSON", "attempt to ", "Unable to", "shared memory region" }

local function answer(handle, status, body)
  handle:headers():replace("content-length", handle:body():setBytes(body))
  handle:headers():replace(":status", status)
end

function envoy_on_response(handle)
  if handle:headers():get(":status") ~= "500" then
    return
  end
  local body = handle:body()
  local text = body and body:getBytes(0, math.min(body:length(), 300)) or ""
  if not string.find(text, '^{"error":"') or string.find(text, "[[][a-z_]+[]] ") then
    return
  end
  if string.find(text, "memory pool size for key", 1, true) then
    return answer(handle, "503", '@memory_full@')
  end
  for _, words in ipairs(UNREADABLE) do
    if string.find(text, words, 1, true) then
      return answer(handle, "400", '{"error":"[request_invalid] ' .. string.sub(body:getBytes(0, body:length()), 11))
    end
  end
end
