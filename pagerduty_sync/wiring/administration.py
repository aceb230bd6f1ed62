"""What administrators set up and change, and how they look after links."""

from __future__ import annotations

from pagerduty_sync.handlers.accounts import Accounts
from pagerduty_sync.handlers.claims import Claims
from pagerduty_sync.handlers.configuration_file import ConfigurationFile
from pagerduty_sync.handlers.configuration_plan import ConfigurationPlan
from pagerduty_sync.handlers.connector_changes import ConnectorChanges
from pagerduty_sync.handlers.link_care import LinkCare
from pagerduty_sync.handlers.linking import Linking
from pagerduty_sync.handlers.mapping_preview import MappingPreview
from pagerduty_sync.handlers.preset_changes import PresetChanges
from pagerduty_sync.handlers.quickstart import Quickstart
from pagerduty_sync.handlers.rotation import Rotation
from pagerduty_sync.handlers.rule_changes import RuleChanges
from pagerduty_sync.handlers.unlinking import Unlinking
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.connector_edits import ConnectorEdits
from pagerduty_sync.stores.link_edits import LinkEdits
from pagerduty_sync.stores.recent_events import RecentEvents
from pagerduty_sync.stores.routing_edits import RoutingEdits
from pagerduty_sync.wiring.one_way import OneWayParts


class AdministrationParts(OneWayParts):
    """The parts that administrators set up and look after everything with."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        links = LinkEdits(self.database)
        routing = RoutingEdits(self.database)
        claims = Claims(self.leases, self.links.mark_dirty)

        def case_url(name: str) -> str:
            return f"{settings.public_url}/cases/{name}"

        self.accounts = Accounts(
            connection=self.connection,
            health=self.health,
            rotation=Rotation(
                keeper=self.keeper, subscriptions=self.subscriptions, audit=self.audit, client=self.client
            ),
            integrations=self.integrations,
            connectors=self.connectors,
            subscriptions=self.subscriptions,
            client=self.client,
        )
        self.connector_changes = ConnectorChanges(
            database=self.database,
            integrations=self.integrations,
            connectors=self.connectors,
            edits=ConnectorEdits(self.database, self.box),
            routing=self.routing,
            audit=self.audit,
        )
        self.mapping_preview = MappingPreview(
            recent=RecentEvents(self.database),
            cases=self.cases,
            integrations=self.integrations,
            unacknowledges_cases=settings.unacknowledge_cases,
            posts_resolution_notes=settings.resolution_notes == "visible",
        )
        self.preset_changes = PresetChanges(
            database=self.database, routing=self.routing, edits=routing, audit=self.audit, case_url=case_url
        )
        self.rule_changes = RuleChanges(
            database=self.database,
            routing=self.routing,
            edits=routing,
            connectors=self.connectors,
            router=self.router,
            audit=self.audit,
            case_url=case_url,
        )
        self.configuration_file = ConfigurationFile(
            plan=ConfigurationPlan(
                accounts=self.accounts,
                connector_changes=self.connector_changes,
                preset_changes=self.preset_changes,
                rule_changes=self.rule_changes,
                integrations=self.integrations,
                connectors=self.connectors,
                routing=self.routing,
            ),
            accounts=self.accounts,
            configuration=self.configuration,
            service_key_connectors=self.service_key_connectors,
            connector_changes=self.connector_changes,
            preset_changes=self.preset_changes,
            rule_changes=self.rule_changes,
            connectors=self.connectors,
            routing=self.routing,
        )
        self.quickstart = Quickstart(
            connection=self.connection,
            health=self.health,
            configuration=self.configuration,
            rules=self.rule_changes,
            integrations=self.integrations,
            connectors=self.connectors,
            routing=self.routing,
            tokens=self.tokens,
        )
        self.link_edits = links
        self.linking = Linking(
            database=self.database,
            cases=self.cases,
            edits=links,
            ledger=self.ledger,
            deliveries=self.deliveries,
            audit=self.audit,
            connectors=self.connectors,
            integrations=self.integrations,
            visits=self.visits,
            client=self.client,
            case_url=case_url,
        )
        self.unlinking = Unlinking(
            cases=self.cases,
            claims=claims,
            edits=links,
            audit=self.audit,
            visits=self.visits,
            client=self.client,
        )
        self.link_care = LinkCare(
            cases=self.cases,
            links=self.links,
            edits=links,
            ledger=self.ledger,
            claims=claims,
            visits=self.visits,
            router=self.router,
            integrations=self.integrations,
            audit=self.audit,
        )
