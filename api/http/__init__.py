"""HTTP that knows no feature: connections, bodies, headers, errors, pagination, metrics, and the OpenAPI document."""
