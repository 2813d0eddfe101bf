-- Bounds what a message of gRPC costs to read, and registers only segments of shared memory that a client has created.
--
-- Triton quotes names of the request in its errors, and an error longer than the front takes ends the connection that
-- all callers share; so names are bounded. Each field of a message costs many times its bytes; so fields are counted.
local SERVICE = "/inference.GRPCInferenceService/"
local MOST_FIELDS = @fields@
local MOST_NAMES = @names_bytes@
local MOST_PACKED = 4194304
local LONGEST_ERROR = 2000

-- Messages with fields to look into, by name -> number of the field -> name of its message.
local INSIDE = {
  ModelInfer = { [5] = "Input" },
  Input = { [5] = "Contents" },
  Contents = {},
}
-- Fields that hold photos and numbers, not names.
local TENSORS = {
  ModelInfer = { [7] = true },
  Contents = { [1] = true, [2] = true, [3] = true, [4] = true, [5] = true, [6] = true, [7] = true, [8] = true },
}

local function read_varint(text, at)
  local value, factor = 0, 1
  for _ = 1, 10 do
    local byte = string.byte(text, at)
    if byte == nil then
      return nil
    end
    at = at + 1
    value = value + (byte % 128) * factor
    if byte < 128 then
      return value, at
    end
    factor = factor * 128
  end
  return nil
end

-- Calls `visit(field, start, size)` for each field of bytes between two offsets; false where the message is malformed.
local function each_field(body, start, stop, count, visit)
  while start < stop do
    count.fields = count.fields + 1
    if count.fields > MOST_FIELDS then
      return false
    end
    local head = body:getBytes(start, math.min(20, stop - start))
    local tag, at = read_varint(head, 1)
    if tag == nil then
      return false
    end
    local kind, size = tag % 8, 0
    if kind == 2 then
      size, at = read_varint(head, at)
    elseif kind == 0 then
      local _, after = read_varint(head, at)
      at = after
    elseif kind == 1 or kind == 5 then
      size = kind == 1 and 8 or 4
    else
      return false
    end
    if size == nil or at == nil then
      return false
    end
    start = start + at - 1
    if start + size > stop then
      return false
    end
    if kind == 2 and not visit((tag - kind) / 8, start, size) then
      return false
    end
    start = start + size
  end
  return true
end

local is_bounded
function is_bounded(body, message, start, stop, count)
  return each_field(body, start, stop, count, function(field, at, size)
    local inner = INSIDE[message][field]
    if inner ~= nil then
      return is_bounded(body, inner, at, at + size, count)
    end
    if TENSORS[message] ~= nil and TENSORS[message][field] then
      -- Whole numbers, field 1 to 5, take eight bytes for one of the message.
      return message == "ModelInfer" or field > 5 or size <= MOST_PACKED
    end
    count.names = count.names + size
    return count.names <= MOST_NAMES
  end)
end

-- SystemSharedMemoryRegisterRequest: name = 1, key = 2.
local function names_own_segment(body, start, stop, count)
  return each_field(body, start, stop, count, function(field, at, size)
    return field ~= 2 or string.find(body:getBytes(at, math.min(size, 100)), "^/?triptych_client_[0-9a-f]+$") ~= nil
  end)
end

local function refuse(handle, message)
  handle:respond({
    [":status"] = "200",
    ["content-type"] = "application/grpc",
    ["grpc-status"] = "3",
    ["grpc-message"] = message,
  }, "")
end

function envoy_on_request(handle)
  local path, body = handle:headers():get(":path"), handle:body()
  if body == nil or body:length() <= 5 then
    return
  end
  local size, count = body:length(), { fields = 0, names = 0 }
  local flag, high, middle, low, lowest = string.byte(body:getBytes(0, 5), 1, 5)
  if flag ~= 0 or ((high * 256 + middle) * 256 + low) * 256 + lowest ~= size - 5 then
    return refuse(handle, "@malformed@")
  end
  if path == SERVICE .. "ModelInfer" then
    if not is_bounded(body, "ModelInfer", 5, size, count) then
      return refuse(handle, "@too_many_fields@")
    end
  elseif path == SERVICE .. "SystemSharedMemoryRegister" then
    if not names_own_segment(body, 5, size, count) then
      return refuse(handle, "@foreign_segment@")
    end
  elseif size > MOST_NAMES and not string.find(path, SERVICE .. "RepositoryModel", 1, true) then
    return refuse(handle, "@too_many_fields@")
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local message = headers:get("grpc-message")
  if message ~= nil and string.find(message, "memory pool size for key", 1, true) then
    headers:replace("grpc-status", "14")  -- with the name of the segment, and INTERNAL
    headers:replace("grpc-message", "[queue_full] The server's shared memory is full. Try again in a moment.")
  elseif message ~= nil and #message > LONGEST_ERROR then
    message = string.gsub(string.sub(message, 1, LONGEST_ERROR), "%%%x?$", "")
    headers:replace("grpc-message", message .. " ... (cut)")
  end
end
