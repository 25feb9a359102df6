-- Tells wrk which paths to call, in turn, and prints what it saw as one line of JSON.
-- BENCH_PATHS names a file with one path a line; without it the URL's own path is called. BENCH_BODY names
-- a file that each call carries as its body.

local requests = {}
local turn = 0

if os.getenv("BENCH_BODY") ~= nil then
  wrk.method = "POST"
  wrk.body = io.open(os.getenv("BENCH_BODY"), "rb"):read("*a")
end

function init()
  local file = os.getenv("BENCH_PATHS")
  if file == nil then
    return
  end
  for path in io.lines(file) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
end

if os.getenv("BENCH_PATHS") ~= nil then
  function request()
    turn = turn % #requests + 1
    return requests[turn]
  end
end

function done(summary)
  local errors = summary.errors
  print(string.format(
    '{"calls": %d, "duration_us": %d, "bytes": %d, "refused": %d, "broken": %d}',
    summary.requests, summary.duration, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout
  ))
end
