"""The roof: builds the services, mounts the doors, runs the loops, starts and stops it all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

import dicomweb.capabilities.routes
import dicomweb.routes
import dicomweb.wado_uri.routes
import dicomweb.worklist.events.routes
import dicomweb.worklist.outside.routes
import dicomweb.worklist.routes
import fhir.routes
import server.auth.administration.routes
import server.auth.authorize.routes
import server.auth.emergency.routes
import server.auth.federation.routes
import server.auth.registration.routes
import server.auth.routes
import server.http.health
import server.viewer.routes
import server.workflows.changes.routes
import server.workflows.consents.routes
import server.workflows.corrections.routes
import server.workflows.deletion.routes
import server.workflows.launches.routes
import server.workflows.registry.routes
import server.workflows.retention.routes
import server.workflows.routes
import server.workflows.storage.routes
import server.workflows.subscriptions.routes
from dicomweb.retrieve.request import Archive
from dicomweb.urls import ROOT
from dicomweb.worklist.events.report import KINDS as REPORTED_KINDS
from dicomweb.worklist.events.routes import Notifications
from fhir.capability import ServerFacts
from fhir.interactions.door import Door as FhirDoor
from fhir.interactions.door import Policy
from fhir.interactions.enforce import enforce_outstanding
from fhir.offer import render_capabilities
from fhir.operations import OPERATIONS
from server.audit.seal import SEALS
from server.auth.administration.routes import Administration
from server.auth.authorize.patients import Patients
from server.auth.authorize.pressure import Pressure
from server.auth.authorize.routes import Installation
from server.auth.authorize.smart_style import PATH as SMART_STYLE_PATH
from server.auth.client_keys import ClientKeys
from server.auth.discovery import oauth_uris
from server.auth.federation.login import FederatedLogin
from server.auth.middleware import Authentication, Door
from server.auth.signing import SigningKeys
from server.auth.token_endpoint import Issuer
from server.auth.tokens import AccessTokens
from server.http.body_limit import BodyLimits
from server.http.doors import include_behind
from server.http.drain import Drain, LastAnswer
from server.http.floor import HttpFloor, build_middleware
from server.http.head import HeadAsGet
from server.http.health import Readiness, check_database, check_objects, check_redis
from server.http.metrics import Metrics
from server.http.problem import Answer, answer_by_door
from server.http.rate_limits import LimitMiddleware
from server.http.short_way import ShortWay, take_plain_routes
from server.http.tracing import NO_TELEMETRY
from server.http.unrouted import answer_unrouted
from server.kernel.access import system_access
from server.kernel.cache import LocalCache
from server.kernel.clock import instant_text
from server.kernel.database import Database
from server.kernel.event_hub import TOPIC as EVENTS
from server.kernel.event_hub import EventHub
from server.kernel.job_runner import GRACE_S
from server.kernel.object_stores import open_store
from server.kernel.periodic_jobs import keep_schedule
from server.kernel.process_metrics import Role, watch_process
from server.kernel.rate_limit import LocalRateLimiter, RateLimiter
from server.kernel.read_audit import ReadAudit
from server.kernel.redis import RedisLink
from server.kernel.redis_cache import RedisCache
from server.kernel.redis_rate_limit import RedisRateLimiter
from server.kernel.redis_wakeups import RedisWakeups
from server.kernel.services import Services
from server.kernel.tracing import close_tracing, configure_tracing
from server.kernel.wakeups import LocalWakeups
from server.settings import Settings
from server.viewer.routes import ViewerSite
from server.workflows.background import Loop, run_loop
from server.workflows.facts import watch_database, watch_machine
from server.workflows.job_registry import RECURRING, SUBSCRIPTIONS, server_runner
from server.workflows.record_guards import DELETION_GUARDS
from server.workflows.requested import RegisteredModels
from server.workflows.studies_in_record import open_by_record
from server.workflows.subscriptions.follow import follow_changes
from server.workflows.terminology import definitions_beside
from server.workflows.verify.operation import VERIFY_OPERATIONS
from server.workflows.worker_process import keep_worker

MIB = 1 << 20
FHIR_BODY_BYTES = 64 * MIB  # of one resource or transaction
FORM_BODY_BYTES = 64 << 10
CLOSE_S = 12.0  # to end what runs beside the requests, and once more to close the services

log = structlog.get_logger(__name__)


def build_services(settings: Settings) -> Services:
    """The floor's services over the settings' database and data folder."""
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database, settings.database_limits, SUBSCRIPTIONS)
    redis = RedisLink(settings.redis_url) if settings.redis_url else None
    wakeups = RedisWakeups(redis) if redis else LocalWakeups()
    database.on_events(lambda kinds: None if kinds.isdisjoint(REPORTED_KINDS) else wakeups.tell(EVENTS))
    return Services(
        database=database,
        objects=open_store(settings.objects),
        read_audit=ReadAudit(database),
        public_base=settings.base,
        site=settings.site,
        storage=settings.storage,
        wakeups=wakeups,
        cache=RedisCache(redis, settings.derive_key("cache")) if redis else LocalCache(),
        redis=redis,
        retention=settings.retention,
        subscriptions=settings.subscriptions,
        audit_keys=settings.keyring(SEALS),
        syslog=settings.syslog,
        open_by_record=open_by_record,
    )


async def close_services(services: Services) -> None:
    """Write what is still only in memory, then close."""
    try:
        await services.read_audit.close()
    finally:
        if services.redis is not None:
            await services.redis.close()
        await services.objects.close()
        await services.database.close()


def build_app(settings: Settings, services: Services, drain: Drain | None = None) -> FastAPI:
    """The ASGI application; its database has the newest schema before it is started."""
    drain = drain or Drain()
    tokens = AccessTokens(services.database)
    metrics = Metrics()
    readiness = readiness_of(services, drain)
    watch_machine(metrics, readiness, settings.data)
    watch_database(metrics, services)
    answer = answer_by_door(
        {"/dicom-web": dicomweb.routes.fault_response, "/fhir": fhir.routes.fault_response}
    )
    hub = EventHub(services.database, services.wakeups, REPORTED_KINDS)
    notifications = Notifications(hub, drain.wait)
    limiter = RedisRateLimiter(services.redis) if services.redis else LocalRateLimiter()
    limits = LimitMiddleware(limiter, answer)
    fhir_router = _fhir_router(settings, services)
    app = FastAPI(
        title="Isthmus",
        version=version("isthmus"),
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
        lifespan=_lifespan(settings, services, hub),
        middleware=build_middleware(
            _floor(settings, services, answer),
            [
                Middleware(LastAnswer, drain),
                Middleware(HeadAsGet),
                *limits.of_failures(settings.failed_logins_per_minute),
                Middleware(Authentication, _door(settings, services, tokens, answer)),
                *limits.of_requests(settings.max_requests_per_s),
                Middleware(ShortWay, take_plain_routes(fhir_router, "/fhir"), answer),
            ],
        ),
    )
    archive = dicomweb.routes.open_archive(services)
    include_behind(app, ROOT, *_dicomweb_routers(services, archive, notifications))
    issuer = _issuer(settings, services)
    accounts = server.auth.administration.routes.build_router(
        Administration(services, tokens, issuer.keys, settings.jwks_outbound, settings.provider)
    )
    include_behind(app, "/admin/api", *_administration(services, archive), accounts)
    app.include_router(server.http.health.build_router(readiness, metrics))
    for router in _authorization(settings, services, tokens, issuer, limiter):
        app.include_router(router)  # before /fhir, where .well-known is no resource
    include_behind(app, "/fhir", fhir_router)
    site = ViewerSite(settings.viewer_folder, services.public_base, login=settings.auth)
    app.include_router(server.viewer.routes.build_router(site))
    answer_unrouted(app, answer)
    return app


def _floor(settings: Settings, services: Services, answer: Answer) -> HttpFloor:
    """What stands before every door."""
    limits = {"/dicom-web": settings.max_request_mib * MIB, "/fhir": FHIR_BODY_BYTES}
    return HttpFloor(
        answer=answer,
        hosts=settings.hosts,
        limits=BodyLimits(limits, FORM_BODY_BYTES),
        tracing=settings.tracing is not None,
        prefix=settings.prefix,
        https=services.public_base.startswith("https:"),
        origins=settings.cors_origins,
    )


def _issuer(settings: Settings, services: Services) -> Issuer:
    """Who issues tokens, and signs who a user is."""
    return Issuer(
        services.database,
        services.public_base,
        SigningKeys(services.database, settings.keyring("signing keys"), services.clock),
        style_url=f"{services.public_base}{SMART_STYLE_PATH}",
        client_keys=ClientKeys(settings.jwks_outbound, services.clock),
    )


def _authorization(
    settings: Settings, services: Services, tokens: AccessTokens, issuer: Issuer, limiter: RateLimiter
) -> list[APIRouter]:
    """The routes of the authorization server."""
    patients = Patients(FhirDoor(services, settings.derive_key("fhir page tokens")))
    elsewhere = _elsewhere(settings, services)
    return [
        server.auth.routes.build_router(services, tokens, issuer),
        server.auth.registration.routes.build_router(
            services, tokens, settings.jwks_outbound, is_open=settings.open_registration
        ),
        server.auth.authorize.routes.build_router(
            Installation(
                services=services,
                patients=patients,
                tokens=tokens,
                begun=Pressure(limiter, "logins begun", settings.logins_begun_per_minute),
                tried=Pressure(limiter, "passwords tried", settings.failed_logins_per_minute),
                elsewhere=elsewhere,
            )
        ),
        server.auth.federation.routes.build_router(elsewhere, tokens),
    ]


def _elsewhere(settings: Settings, services: Services) -> FederatedLogin | None:
    """Logins at an external OpenID provider; None: there is none."""
    return None if settings.provider is None else FederatedLogin(services, settings.provider)


def _door(settings: Settings, services: Services, tokens: AccessTokens, answer: Answer) -> Door:
    """What authentication asks, and how it answers."""
    return Door(
        tokens=tokens,
        read_audit=services.read_audit,
        answer=answer,
        public_base=services.public_base,
        anonymous=None if settings.auth else system_access("anonymous"),
        terminology_is_open=settings.open_terminology,
    )


def _dicomweb_routers(services: Services, archive: Archive, notifications: Notifications) -> list[APIRouter]:
    """The routers below the DICOMweb root; the last tells what the others can do."""
    routers = [
        dicomweb.routes.build_router(services, archive),
        dicomweb.wado_uri.routes.build_router(services, archive),
        dicomweb.worklist.routes.build_router(services),
        dicomweb.worklist.outside.routes.build_router(services, RegisteredModels(services.database)),
        dicomweb.worklist.events.routes.build_router(services, notifications),
        server.workflows.deletion.routes.build_archive_router(services),
    ]
    return [*routers, dicomweb.capabilities.routes.build_router(services.public_base, routers)]


def _administration(services: Services, archive: Archive) -> list[APIRouter]:
    """The administration API (DESIGN §4)."""
    return [
        server.workflows.routes.build_router(services),
        server.workflows.registry.routes.build_router(services),
        server.workflows.storage.routes.build_router(services),
        server.workflows.changes.routes.build_router(services),
        server.workflows.consents.routes.build_router(services),
        server.workflows.corrections.routes.build_router(services, archive),
        server.workflows.deletion.routes.build_router(services),
        server.workflows.launches.routes.build_router(services),
        server.auth.emergency.routes.build_router(services),
        server.workflows.retention.routes.build_router(services),
        server.workflows.subscriptions.routes.build_router(services),
    ]


def _fhir_router(settings: Settings, services: Services) -> APIRouter:
    base = services.public_base
    facts = ServerFacts(
        base=f"{base}/fhir",
        software_version=version("isthmus"),
        date=instant_text(services.clock()),
        oauth_uris=oauth_uris(base) if settings.auth else {},
        cors=bool(settings.cors_origins),
    )
    policy = Policy(
        settings.fhir_create_on_update,
        settings.fhir_delete_multiple,
        settings.fhir_require_references,
        settings.fhir_require_profiles,
        settings.max_expansion,
    )
    operations = (*OPERATIONS, *VERIFY_OPERATIONS)
    definitions = definitions_beside(services.database)
    offer = fhir.routes.Offer(policy, DELETION_GUARDS, operations, definitions, facts)
    # First asked for, first made: start stays quick.
    capabilities = cache(lambda: render_capabilities(facts, policy, offer.operations))
    return fhir.routes.build_router(services, settings.derive_key("fhir page tokens"), capabilities, offer)


def readiness_of(services: Services, drain: Drain | None = None) -> Readiness:
    """What a process of these services needs in order to be ready."""
    checks = [check_database(services.database), check_objects(services.objects)]
    if services.redis is not None:
        checks.append(check_redis(services.redis))
    return Readiness(checks, drain=drain)


def _lifespan(settings: Settings, services: Services, hub: EventHub) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        configure_tracing(settings.tracing, Role.SERVER.value)
        await enforce_outstanding(services)
        stop = asyncio.Event()
        beside = [*_background(settings, services, stop), hub.run(stop)]
        running = [asyncio.create_task(work) for work in beside]
        try:
            yield
        finally:
            stop.set()
            await _end(running)
            async with asyncio.timeout(CLOSE_S):
                await close_services(services)
            await asyncio.to_thread(close_tracing)

    return lifespan


async def _end(running: list[asyncio.Task[None]]) -> None:
    """Let the steps under way end; what hangs is cut, and a later start does it again."""
    if running:
        _, late = await asyncio.wait(running, timeout=CLOSE_S)
        for task in late:
            task.cancel()


def _background(
    settings: Settings, services: Services, stop: asyncio.Event
) -> list[Coroutine[Any, Any, None]]:
    """What runs beside the requests."""
    loops = (Loop("close audit windows", services.read_audit.close_ended, 5.0),)
    work = [run_loop(loop, stop) for loop in loops]
    work.append(server_runner(services, settings.quiet_time_s).run(stop))
    work.append(keep_schedule(services.database, RECURRING, stop))
    work.append(follow_changes(services, stop))
    work.append(watch_process(Role.SERVER, stop, services.database.report))
    work += between_processes(services, stop)
    if settings.worker:
        work.append(keep_worker(stop, worker_environment(settings)))
    return work


def between_processes(services: Services, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
    """What runs in server and worker for each other."""
    work = [services.wakeups.run(stop)]
    if services.redis is not None:
        work.append(services.redis.watch(stop))
    return work


def worker_environment(settings: Settings) -> dict[str, str]:
    """What the command line may have changed, for a worker process that reads the same settings otherwise."""
    return {
        "ISTHMUS_DATA": str(settings.data.absolute()),
        "ISTHMUS_PUBLIC_BASE": settings.base,
        "ISTHMUS_HOST": settings.host,
        "ISTHMUS_AUTH": str(settings.auth),
        "ISTHMUS_WORKER_GRACE_S": str(min(settings.worker_grace_s, GRACE_S)),  # we wait no longer
    }
