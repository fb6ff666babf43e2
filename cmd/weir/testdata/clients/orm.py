"""SQLAlchemy, its ORM over Python's sqlite3."""

import os
import sys

from sqlalchemy import Column, Integer, LargeBinary, String, create_engine, delete, event, func, select, update
from sqlalchemy.orm import Session, declarative_base

Base = declarative_base()


class Note(Base):
    __tablename__ = "note"
    id = Column(Integer, primary_key=True)
    author = Column(String, nullable=False)
    n = Column(Integer, nullable=False)
    body = Column(LargeBinary, nullable=False)


class Total(Base):
    __tablename__ = "total"
    id = Column(Integer, primary_key=True)
    n = Column(Integer, nullable=False)


def write(engine, mode, count, author):
    @event.listens_for(engine, "connect")
    def set_mode(connection, _):
        connection.execute("PRAGMA journal_mode = " + mode)

    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        if session.get(Total, 1) is None:
            session.add(Total(id=1, n=0))
    for n in range(1, count + 1):
        with Session(engine) as session, session.begin():
            session.execute(update(Total).values(n=Total.n + 1), execution_options={"synchronize_session": False})
            session.add(Note(author=author, n=n, body=os.urandom(n * 97 % 5000)))
    with Session(engine) as session:
        session.execute(update(Total).values(n=0), execution_options={"synchronize_session": False})
        session.execute(delete(Note), execution_options={"synchronize_session": False})
        session.rollback()


def read(engine):
    with Session(engine) as session:
        # The driver begins no transaction for a SELECT alone.
        session.connection().exec_driver_sql("BEGIN")
        print(session.get(Total, 1).n)
        authors = select(Note.author, func.count(), func.sum(Note.n), func.sum(func.length(Note.body)))
        for row in session.execute(authors.group_by(Note.author).order_by(Note.author)):
            print("|".join(map(str, row)))


verb, db, *rest = sys.argv[1:]
engine = create_engine("sqlite:///" + db, connect_args={"timeout": 60}, future=True)
if verb == "read":
    read(engine)
else:
    write(engine, rest[0], int(rest[1]), rest[2])
engine.dispose()
