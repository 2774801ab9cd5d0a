"""The courier: tells partners of ends, as the Standard Webhooks specification has it."""
