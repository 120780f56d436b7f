"""The REST API below /api/v1/: self-service for customers, provisioning for the business. Each file is a resource."""
