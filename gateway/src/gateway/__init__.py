"""The CRM's front door: Envoy's configuration and the edge app beside it."""
