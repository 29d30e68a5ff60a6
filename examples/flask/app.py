"""A small shop: one page that searches a SQLite table, as many a Flask application does."""

import random
import sqlite3
from pathlib import Path

from flask import Flask, g, jsonify, request

DATABASE = Path(__file__).with_name("shop.sqlite")
WORDS = "tide gate lock pier mole quay dock buoy mast keel hull deck sail oar rope knot".split()

app = Flask(__name__)


def create_database(rows=20_000):
    """Fills the table, the same for everybody."""
    chance = random.Random(1)
    with sqlite3.connect(DATABASE) as database:
        database.execute("DROP TABLE IF EXISTS goods")
        database.execute("CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT, price INTEGER)")
        database.executemany(
            "INSERT INTO goods (name, price) VALUES (?, ?)",
            ((" ".join(chance.choices(WORDS, k=6)), chance.randrange(1000)) for _ in range(rows)),
        )


def database():
    if "database" not in g:
        g.database = sqlite3.connect(DATABASE)
    return g.database


@app.teardown_appcontext
def close_database(_error):
    connection = g.pop("database", None)
    if connection is not None:
        connection.close()


@app.get("/search")
def search():
    # LIKE with a leading wildcard reads the whole table: the kind of query that is fine until everybody comes.
    pattern = f"%{request.args.get('q', 'tide gate')}%"
    count, mean = database().execute(
        "SELECT count(*), avg(price) FROM goods WHERE name LIKE ?", (pattern,)
    ).fetchone()
    return jsonify(count=count, mean=mean)


@app.get("/healthz")
def healthz():
    return "ok\n"


if __name__ == "__main__":
    create_database()
