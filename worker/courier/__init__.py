"""The courier: sends events to webhooks as specified by Standard Webhooks."""
