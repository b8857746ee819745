"""Fields that an organisation adds to its records, without a change of the schema."""
