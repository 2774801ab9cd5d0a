"""Sets the clock of a ledger by shifting every stored time in the opposite direction, in one step."""

from typing import Final

import redis

TIMES: Final = (
    "created_at",
    "started_at",
    "start_by",
    "ends_at",
    "step_ends_at",
    "line",
    "began",
    "next_at",
    "open_until",
)
"""Fields of records that hold a time."""
_SHIFT: Final = """
for _, key in ipairs(redis.call('KEYS', 'vultus:*')) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'zset' then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -ARGV[1], member) end
  elseif kind == 'hash' then
    for at = 2, #ARGV do
      local value = tonumber(redis.call('HGET', key, ARGV[at]) or '')
      if value then redis.call('HSET', key, ARGV[at], string.format('%.6f', value - ARGV[1])) end
    end
  end
end
"""


def set_clock(ledger: redis.Redis, *, by: float) -> None:
    """Set the clock forward by this many seconds, or back. Expiry by the server itself is not shifted.

    Keep the sum below `VULTUS_RESULT_TTL`: otherwise the index would forget records that still exist.
    """
    ledger.eval(_SHIFT, 0, str(by), *TIMES)
