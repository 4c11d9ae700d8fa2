-- One POST after the other from a file that has one JSON body a line, over and over; at the end
-- what was seen, as one line of JSON on stdout. Run by load_tests/wrk.py:
--
--     wrk -t1 -c32 -d5 -s load_tests/wrk.lua http://127.0.0.1:3000/classify -- bodies.txt

local requests, turn = {}, 0

function init(arguments)
  local kind = { ["Content-Type"] = "application/json" }
  for body in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, kind, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'WRK {"requests": %d, "seconds": %.6f, "bytes": %d, "refused": %d, "connect_errors": %d, ' ..
    '"read_errors": %d, "write_errors": %d, "timeouts": %d, "latency_ms": {"mean": %.3f, ' ..
    '"p50": %.3f, "p90": %.3f, "p99": %.3f, "max": %.3f}}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, errors.status, errors.connect,
    errors.read, errors.write, errors.timeout, latency.mean / 1e3, latency:percentile(50) / 1e3,
    latency:percentile(90) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
