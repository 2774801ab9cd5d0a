"""Images by URL: header checks and downloads."""
