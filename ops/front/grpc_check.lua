-- Bounds what a message of gRPC costs to read, asks for classes only of scores, and registers only segments of shared
-- memory that a client has created.
--
-- Triton quotes names of the request in its errors, and an error longer than the front takes ends the connection that
-- all callers share; so names are bounded. Each field of a message costs many times its bytes; so fields are counted.
local SERVICE = "/inference.GRPCInferenceService/"
local MOST_FIELDS = @fields@
local MOST_NAMES = @names_bytes@
local MOST_PACKED = @packed_bytes@
local LONGEST_ERROR = 2000
local MALFORMED = "@malformed@"
local TOO_MANY_FIELDS = "@too_many_fields@"
local NOT_SCORES = "@not_scores@"
local FOREIGN_SEGMENT = "@foreign_segment@"

-- Messages with fields to look into, by name -> number of the field -> name of its message.
local INSIDE = {
  ModelInfer = { [5] = "Input", [6] = "Output" },
  Input = { [5] = "Contents" },
  Output = { [2] = "Parameter" },
  Contents = {},
  Parameter = {},
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

-- Calls `visit(field, start, size)` for each field of bytes between two offsets; returns the first refusal, nil for none.
local function each_field(body, start, stop, count, visit)
  while start < stop do
    count.fields = count.fields + 1
    if count.fields > MOST_FIELDS then
      return TOO_MANY_FIELDS
    end
    local head = body:getBytes(start, math.min(20, stop - start))
    local tag, at = read_varint(head, 1)
    -- Readers take 32 bits of a tag: a larger one would be another field to them than it is here.
    if tag == nil or tag < 8 or tag >= 4294967296 then
      return MALFORMED
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
      return MALFORMED
    end
    if size == nil or at == nil or start + at - 1 + size > stop then
      return MALFORMED
    end
    start = start + at - 1
    local refusal = kind == 2 and visit((tag - kind) / 8, start, size) or nil
    if refusal then
      return refusal
    end
    start = start + size
  end
  return nil
end

local function is_scores(name)
  return string.sub(name, -7) == "_scores" and not string.find(name, "%c")
end

-- `output` collects, of the output that holds the message, whether it asks for classes and whether it may.
local check
function check(body, message, start, stop, count, output)
  local refusal = each_field(body, start, stop, count, function(field, at, size)
    local inner = INSIDE[message][field]
    if inner ~= nil then
      return check(body, inner, at, at + size, count, inner == "Output" and { scores = 0, others = 0 } or output)
    end
    if TENSORS[message] ~= nil and TENSORS[message][field] then
      -- Whole numbers, field 2 to 5, take eight bytes for one of the message.
      if message == "Contents" and field <= 5 then
        count.packed = count.packed + size
      end
      return count.packed > MOST_PACKED and TOO_MANY_FIELDS or nil
    end
    count.names = count.names + size
    if count.names > MOST_NAMES then
      return TOO_MANY_FIELDS
    end
    if field == 1 and message == "Output" then
      local kind = is_scores(body:getBytes(at, size)) and "scores" or "others"
      output[kind] = output[kind] + 1
    elseif field == 1 and message == "Parameter" and body:getBytes(at, size) == "classification" then
      output.asks = true
    end
  end)
  if refusal == nil and message == "Output" and output.asks and (output.scores == 0 or output.others > 0) then
    return NOT_SCORES
  end
  return refusal
end

-- SystemSharedMemoryRegisterRequest: name = 1, key = 2. A region is used by who knows its name, which nobody guesses.
local function check_registration(body, start, stop, count)
  local seen = {}
  local refusal = each_field(body, start, stop, count, function(field, at, size)
    local text = body:getBytes(at, math.min(size, 100))
    local is_own = string.find(text, "^/?triptych_client_[0-9a-f]+$") ~= nil and size >= @segment_characters@
    seen[field] = true
    return field <= 2 and not is_own and FOREIGN_SEGMENT or nil
  end)
  return refusal or not (seen[1] and seen[2]) and FOREIGN_SEGMENT or nil
end

-- The refusal of the request, nil for none.
local function examine(path, body)
  local size, count = body:length(), { fields = 0, names = 0, packed = 0 }
  local flag, high, middle, low, lowest = string.byte(body:getBytes(0, 5), 1, 5)
  if flag ~= 0 or ((high * 256 + middle) * 256 + low) * 256 + lowest ~= size - 5 then
    return MALFORMED
  elseif path == SERVICE .. "ModelInfer" then
    return check(body, "ModelInfer", 5, size, count)
  elseif path == SERVICE .. "SystemSharedMemoryRegister" then
    return check_registration(body, 5, size, count)
  elseif size > MOST_NAMES and not string.find(path, SERVICE .. "RepositoryModel", 1, true) then
    return TOO_MANY_FIELDS
  end
end

function envoy_on_request(handle)
  local path, body = handle:headers():get(":path"), handle:body()
  if body == nil or body:length() <= 5 then
    return
  end
  -- Envoy passes a request on whose script ends in an error.
  local is_examined, refusal = pcall(examine, path, body)
  if not is_examined then
    handle:logErr(refusal)
    refusal = "@unexamined@"
  end
  if refusal ~= nil then
    handle:respond({
      [":status"] = "200",
      ["content-type"] = "application/grpc",
      ["grpc-status"] = "3",
      ["grpc-message"] = refusal,
    }, "")
  end
end

-- What Triton and its gRPC say with a status that blames the server: words -> status of our own, and sentence.
local RENAMED = {
  { "memory pool size for key", "14", "@memory_full@" },  -- with the name of the segment, and INTERNAL
  { "Unable to parse request", "3", "@unreadable@" },
  { "Invalid shared memory region", "3" },
  { "Unable to open shared memory region", "3" },
  { "protocol is restricted", "7" },
}

function envoy_on_response(handle)
  local headers = handle:headers()
  local message = headers:get("grpc-message")
  if message == nil then
    return
  end
  for _, renamed in ipairs(RENAMED) do
    if string.find(message, renamed[1], 1, true) then
      headers:replace("grpc-status", renamed[2])
      headers:replace("grpc-message", renamed[3] or message)
      return
    end
  end
  if #message > LONGEST_ERROR then
    message = string.gsub(string.sub(message, 1, LONGEST_ERROR), "%%%x?$", "")
    headers:replace("grpc-message", message .. " ... (cut)")
  end
end
