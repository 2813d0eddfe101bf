-- Bounds what the JSON of a request costs to read: 100,000 nested brackets end Triton 2.51.0, and each value costs many
-- times its bytes. Registers only segments of shared memory that a client has created.
local DEEPEST = @json_depth@
local MOST_VALUES = @json_values@
local MOST_ESCAPES = @json_escapes@

-- Whether the JSON is within the bounds. What strings hold is skipped.
local function is_bounded(text)
  local depth, values, escapes, at = 0, 0, 0, 1
  while true do
    at = string.find(text, '["%[%]{},]', at)
    if at == nil then
      return true
    end
    local byte = string.byte(text, at)
    if byte == 34 then
      at = string.find(text, '["\\]', at + 1)
      while at ~= nil and string.byte(text, at) == 92 do
        escapes = escapes + 1
        if escapes > MOST_ESCAPES then
          return false
        end
        at = string.find(text, '["\\]', at + 2)
      end
      if at == nil then
        return true
      end
    elseif byte == 93 or byte == 125 then
      depth = depth - 1
    else
      values = values + 1
      if byte ~= 44 then
        depth = depth + 1
      end
      if depth > DEEPEST or values > MOST_VALUES then
        return false
      end
    end
    at = at + 1
  end
end

-- Without escapes, each name and value of the JSON stands in the text as it is.
local function names_own_segments(text)
  if string.find(text, "\\", 1, true) then
    return false
  end
  for key in string.gmatch(text, '"key"%s*:%s*"([^"]*)"') do
    if not string.find(key, "^/?triptych_client_[0-9a-f]+$") then
      return false
    end
  end
  return true
end

local function refuse(handle, body)
  handle:respond({ [":status"] = "400", ["content-type"] = "application/json" }, body)
end

function envoy_on_request(handle)
  local body = handle:body()
  if body == nil then
    return
  end
  local headers = handle:headers()
  local json_bytes = body:length()
  local said = headers:get("inference-header-content-length")
  if said ~= nil and string.find(said, "^%d+$") then
    json_bytes = math.min(json_bytes, tonumber(said))
  end
  local text = body:getBytes(0, json_bytes)
  if not is_bounded(text) then
    return refuse(handle, '@json_unbounded@')
  end
  if string.find(headers:get(":path"), "/v2/systemsharedmemory", 1, true) and not names_own_segments(text) then
    return refuse(handle, '@foreign_segment@')
  end
end

-- What Triton says with 500 about JSON that it cannot read.
local UNREADABLE = { "parse", "JSON", "attempt to ", "Unable to" }

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
    local told = '{"error":"[queue_full] The server\'s shared memory is full. Try again in a moment."}'
    handle:headers():replace("content-length", body:setBytes(told))
    handle:headers():replace(":status", "503")
    return
  end
  for _, words in ipairs(UNREADABLE) do
    if string.find(text, words, 1, true) then
      local all = body:getBytes(0, body:length())
      local size = body:setBytes('{"error":"[request_invalid] ' .. string.sub(all, 11))
      handle:headers():replace(":status", "400")
      handle:headers():replace("content-length", size)
      return
    end
  end
end
