"""Every limit of the product: default, least, most, and why. Nothing else in the code holds such a number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """`unit` is s, d (days), bytes, bits or 1."""

    default: int
    least: int
    most: int
    unit: str
    reason: str


DPD_TIMEOUT = Limit(45, 9, 3600, "s", "Azure takes 9-3600, recommends 30-45 (FAQ)")
IKE_LIFETIME_S = 28800  # fixed in Azure (FAQ)
SA_LIFETIME = Limit(27000, 300, 172799, "s", "Azure's quick-mode default 27000, least 300 (FAQ)")
SA_DATA_KB = 102_400_000  # Azure's default; the firewall rekeys by time
MSS = Limit(1350, 536, 1460, "bytes", "Azure's advice for IPsec over the Internet; pfSense's field is this + 40")
MSS_USUAL = Limit(1350, 1200, 1360, "bytes", "told in the status: above, ESP is fragmented; below, speed is lost")
BGP_KEEPALIVE_S, BGP_HOLD_S = 60, 180  # fixed in Azure (FAQ)
GATEWAY_SUBNET_BITS = Limit(27, 16, 27, "bits", "Azure recommends /27 or larger; smaller cannot grow later")
ADOPTED_SUBNET_BITS = Limit(27, 16, 29, "bits", "Azure takes a /29; what we adopt is not made anew")
PREFIXES = Limit(0, 0, 4000, "1", "of all homes of a gateway; the BGP session drops beyond 4,000 prefixes (FAQ)")
CONNECTIONS = Limit(0, 0, 30, "1", "VpnGw1AZ-3AZ carry 30 tunnels")
CONNECTIONS_LARGE = Limit(0, 0, 100, "1", "VpnGw4AZ and VpnGw5AZ carry 100 tunnels")
REVERT = Limit(600, 30, 3600, "s", "commit-confirm; below 420 (one BGP hold plus reconnect) only for a lab")
UNPIN_AFTER = Limit(
    600, 15, 86400, "s", "a pin ends after the tunnel has been healthy that long; below 600 only for a lab"
)

PLAN_DELETES, PLAN_UPDATES = 3, 6  # one Plan: what a Gateway stands on, or it and a few Connections
LEASE_S = 60  # a reconcile step is shorter than this: it makes a handful of bounded calls and never waits
SWEEP_S = 60  # the timer that looks at every unit, whatever messages were lost
READ_AGAIN_S = 3600  # what no list of a cycle shows (virtual network, public address) is read that often
CAUSE_S = 14_400  # a gateway takes up to two hours: what is not well after twice that is another story
ASSUMED_S = 300  # while ARM does not answer, what it last said holds that long
APPLY_TTL_S = 3600  # an apply is declarative, so an old one is still right until a newer generation exists
APPLY_AGAIN_S = 120  # no word of an apply for that long: issue it again (the agent recognises it by its digest)
INITIATE_AFTER_S = 90  # Azure's DPD (45 s) and a planned failover (10-15 s) pass by themselves, and some
RESET_CONNECTION_AFTER_S = 420  # an unplanned failover (3 min) and two initiates since
RESET_GATEWAY_AFTER_S = 1500  # a reset of the connection, and time for it to help
RECONNECT_WAIT_S = 180  # a FRITZ!Box dials a line anew within 1 to 3 minutes, and IKE follows by itself
RECONNECT_DAYS = 7  # so long a change of address is remembered: an hour that moved (summer time) is learned anew
RECONNECT_DAYS_SEEN = 3  # on fewer days it is chance
RECONNECT_WITHIN_S = 900  # before and after: routers keep the hour by their own clocks, and dial for some minutes
RECONNECTS_KEPT = 30  # changes of address of a Connection, the newest (times only)
EXHAUSTED_S = 180  # giving up that lasts so long is told: a person is needed
RESET_LOCKED_S = 300  # Azure works on something else: a reset that it did not take is asked for again after that
CONTRADICTED_S = 3600  # so long Azure's word that a tunnel is up holds against a reset
INITIATES_A_DAY, CONNECTION_RESETS_A_DAY, GATEWAY_RESETS_A_DAY = 48, 3, 2
INITIATE_COOL_S = 120  # between two initiates of one Incident: IKE gives a dial up after 165 s, and it is harmless
RESET_CONNECTION_COOL_S = 900
RESET_GATEWAY_COOL_S = 2700  # one takes 800 s (recorded); the second reaches the other instance
PIN_UNHEARD_S = 3600  # a pin that brought no word from the home is given up: Azure is to heal itself again
INITIATE_TTL_S = 120  # an old initiate would bounce a healthy tunnel
INITIATE_AGAIN_S = 60  # a tunnel that is not verified that long after an initiate gets another one, while pinned
PINNED_INITIATES = 3  # in one pin; a tunnel that stays down after them climbs the rest of the ladder
FAILOVER_S = 180  # an unplanned failover of a gateway takes up to 3 minutes (Azure docs); planned ones 10-15 s
PIN_LONG_S = 21_600  # a pin that lasts longer than that is told: TTLs are minutes
CLOCK_SKEW_S = 60  # an agent's wall clock further off than that is told
DIAGNOSE_TTL_S = 300  # an answer that comes later helps nobody
DIAGNOSE_FRESH_S = 60  # an answer as young as that is not asked for again
DIAGNOSE_KNOWN_S = 900  # an older answer, or what became of an older command, counts for nothing
HEARTBEAT_FRESH_S = 95  # three beats of 30 s and some network: older evidence counts for nothing
CLAIM_S = 60  # a name that was claimed that long ago and has no Connection yet was left behind by a crash
WATCH_S = 5  # how soon to look again while an Incident is young
WATCH_FOR_S = 900  # an Incident older than that is looked at by the sweep alone: days of outage must not cost reads
KEY_OLD_DAYS = 365  # a pre-shared key in use for that long is told; no rule of Azure's, a usual one of auditors
TOKEN_VALID_S = 86_400  # an enrolment token that nobody used in a day is not needed
QUEUE_GRANT_S = 3600  # the SAS of an agent's queue; renewed over HTTPS
RECORD_QUIET_S = 60  # an Incident in which nothing new is seen is recorded once a minute
EVENT_PAGE = Limit(100, 1, 500, "1", "Events in one answer")
EVENT_CHARS = 1000  # of an Event's message: Azure's own words may be pages long
EVENTS_DAYS = Limit(30, 1, 3650, "d", "Events and closed Incidents hold addresses of homes, which are personal data")
EVENTS_KEPT = 2000  # per Gateway, the newest: a tunnel that flaps must not fill the table
INCIDENTS_KEPT = 200  # closed ones per Gateway, the newest
AUDIT_DAYS = Limit(400, 31, 3650, "d", "a year of who did what, and some; whole months are dropped")
COMMANDS_DAYS = 30  # records of commands
REPLACED_S = 86_400  # an enrolment that a newer one replaced is kept that long; its token has run out by then
RETENTION_ROWS = 10_000  # one daily run deletes no more; the next goes on
FORGET_ROWS = 1000  # one step deletes no more of the history of a Connection that is gone; the next goes on
ALERT_BYTES = 262_144  # Azure Monitor sends no larger one (alert payload limit, 256 KB)
ALERT_REPEATS_S = 86_400  # a delivery of the same alert within a day is the same one; Azure repeats within minutes
ALERTS_KEPT = 200  # that were refused or not ours, the newest
ALERT_CHARS = 4000  # of the body of such a one
