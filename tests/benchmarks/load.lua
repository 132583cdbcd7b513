-- One POST a request, each with ids of its own. wrk runs one copy a thread.
local counter = 0
local thread_count = 0
function setup(thread)
  thread:set("thread_id", thread_count)
  thread_count = thread_count + 1
end
function init(args)
  math.randomseed(os.time() * 1000 + thread_id)
  prefix = string.format("%08x%08x", math.random(0, 2147483647), tonumber(args[1] or "0"))
  headers = {["Content-Type"] = "application/json", ["Authorization"] = "Basic YmVuY2g6YmVuY2g="}
end
function request()
  counter = counter + 1
  local id = string.format("%s-%d-%08x", prefix, thread_id, counter)
  local body = '{"idempotencyKey":"key-' .. id .. '","eventDescriptor":"PACKAGE_DELIVERY_IN_TRANSIT","resources":'
    .. '["businessProduct/bp-bench/order/order-' .. id .. '/delivery/delivery-' .. id .. '"],"eventId":"event-' .. id
    .. '","apiVersion":"2024-11-01","subscriptionId":"sub-bench","eventTime":"2025-01-20T12:34:56Z","data":{}}'
  return wrk.format("POST", "/webhooks/buy-with-prime", headers, body)
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    "RESULT requests=%d us=%d non2xx=%d socket=%d p50=%d p99=%d\n", summary.requests, summary.duration,
    e.status, e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))
end
