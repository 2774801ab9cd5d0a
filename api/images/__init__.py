"""Images by URL and in JSON: downloads and base64."""
