"""The peer of the ingest benchmark: the same function the plain way, FastAPI + SQLAlchemy + PostgreSQL.

Basic authentication, a pydantic model, one INSERT … ON CONFLICT DO NOTHING in one transaction per request, the
answer after the commit. Run by `tests.benchmarks.ingest` with uvicorn, one worker, uvloop and httptools.
"""

import os
import secrets
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel
from sqlalchemy import Identity, LargeBinary, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["PEER_DATABASE_URL"], pool_size=40, max_overflow=0)
sessions = async_sessionmaker(engine)
security = HTTPBasic()
app = FastAPI()


class Base(DeclarativeBase):
    pass


class EventRow(Base):
    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("business_product_id", "event_descriptor", "idempotency_key"),)
    position: Mapped[int] = mapped_column(Identity(), primary_key=True)
    business_product_id: Mapped[str] = mapped_column(Text)
    event_descriptor: Mapped[str] = mapped_column(Text)
    idempotency_key: Mapped[str] = mapped_column(Text)
    event_id: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class EventBody(BaseModel):
    idempotencyKey: str  # noqa: N815 - the wire's names
    eventDescriptor: str  # noqa: N815
    resources: list[str]
    eventId: str  # noqa: N815
    apiVersion: str  # noqa: N815
    subscriptionId: str  # noqa: N815
    eventTime: str  # noqa: N815
    data: dict[str, Any]


@app.on_event("startup")
async def create() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


@app.post("/webhooks/buy-with-prime")
async def receive(
    request: Request, event: EventBody, credentials: Annotated[HTTPBasicCredentials, Depends(security)]
) -> dict[str, str]:
    good_name = secrets.compare_digest(credentials.username, "bench")
    if not (secrets.compare_digest(credentials.password, "bench") and good_name):
        raise HTTPException(401)
    async with sessions() as session:
        inserted = await session.execute(
            insert(EventRow)
            .values(
                business_product_id=event.resources[0].split("/")[1],
                event_descriptor=event.eventDescriptor,
                idempotency_key=event.idempotencyKey,
                event_id=event.eventId,
                body=await request.body(),
            )
            .on_conflict_do_nothing()
            .returning(EventRow.position)
        )
        accepted = inserted.scalar() is not None
        await session.commit()
    return {"status": "accepted" if accepted else "duplicate"}
