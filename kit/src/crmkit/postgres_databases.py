"""Making and dropping databases on a server."""

import psycopg
from psycopg import sql


def create_database(server_url: str, name: str, template: str | None = None) -> bool:
    """Creates a database; returns False if it was there already.

    Args:
        server_url: URL of any other database of the server, by one who may create databases.
        name: The new database.
        template: The database to copy, to which nobody may be connected; by default an empty one.
    """
    copied = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + copied
    with psycopg.connect(server_url, autocommit=True) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.DuplicateDatabase:
            return False
    return True


def drop_database(server_url: str, name: str) -> None:
    """Drops a database if there is one, ending its connections."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement)
