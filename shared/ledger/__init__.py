"""Everything that is kept in Valkey or Redis; the only code that speaks to it."""
