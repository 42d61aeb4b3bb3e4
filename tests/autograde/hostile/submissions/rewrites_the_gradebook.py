# Writes full marks for everybody into the gradebook.
# ruff: noqa
# Seconds: 30

# %%
import sqlite3, os

print("tried")
try:
    with sqlite3.connect(f"{COURSE}/gradebook.db") as book:
        book.execute("UPDATE grade SET manual_score = 100, auto_score = 100")
except Exception as error:
    print(error)
try:
    os.rename(f"{COURSE}/gradebook.db", f"{COURSE}/other.db")
except OSError as error:
    print(error)
