"""Sets the clock of a ledger: every time on record is moved the other way, in one step, which comes to the same."""

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
    """Set it forward by so many seconds, or back. Expiry by the server itself is not moved.

    So less than `VULTUS_RESULT_TTL` in sum: the index would forget records that are still there.
    """
    ledger.eval(_SHIFT, 0, str(by), *TIMES)
