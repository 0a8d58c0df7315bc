"""The page and the API: HTTP in front of a station.

`app.create_app` makes the application, `server.Server` serves it in a thread of its own.
"""
