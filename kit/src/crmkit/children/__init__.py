"""What people add to a record: comments, followers. Each belongs to one record and goes with it."""
