-- Tells wrk which paths to call, in turn, and prints what it saw as one line of JSON.
-- BENCH_PATHS names a file with one path a line; without it the URL's own path is called.

local requests = {}
local turn = 0

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
