"""What alembic runs: the steps, in the transaction that `edge_app.store.database` has begun."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
