<?php
/* What the agent asks for at each heartbeat: what is ours, how it differs, and with `look` what the daemons say. Changes nothing. */

function hl_do_status(array $request): array {
	$config = hl_read();
	$registry = hl_registry($config);
	$connections = [];
	foreach ($registry['connections'] as $name => $entry) {
		$drift = array_merge(hl_drift($config, $registry, $name), hl_not_running($entry));
		$one = ['desired' => $entry['desired'], 'generation' => $entry['generation'], 'wanted' => $entry['wanted'], 'drift' => $drift,
			'con' => "con{$entry['n']}", 'interface' => "ipsec{$entry['n']}", 'opt' => $entry['opt']];
		$connections[$name] = $one + ($request['look'] ? hl_look($entry) : []);
	}
	$said = [
		'connections' => (object)$connections,
		'unapplied' => file_exists(HL_UNAPPLIED),
		'pending' => hl_pending(),
		'notes' => hl_notes($config, $registry),
		'dirty' => array_values(array_filter(['ipsec', 'interfaces', 'filter', 'staticroutes', 'natconf'], 'is_subsystem_dirty')),
		'revision' => ['time' => $config['revision']['time'] ?? '', 'by' => $config['revision']['username'] ?? ''],
	];
	if ($request['look']) {
		$said['wan'] = get_interface_ip($request['wan']) ?: null;
		$said['summary'] = $connections ? hl_run(HL_VTYSH . " -d bgpd -c 'show bgp ipv4 unicast summary json'")[1] : '';
		$ours = array_column($connections, 'con');
		$said['sas'] = array_map('hl_sa', array_values(array_filter(hl_sas(), fn($sa) => in_array($sa['con-id'] ?? '', $ours, true))));
	}
	if ($request['versions']) {
		$said['versions'] = hl_versions();
	}
	return $said;
}

function hl_pending(): ?array {
	$snapshot = hl_load(HL_SNAPSHOT);
	if ($snapshot === null) {
		return null;
	}
	/* without the file in /var/run the firewall was booted since, and the timer is gone */
	return ['connections' => array_map('strval', array_keys($snapshot['connections'])), 'up_before' => $snapshot['up_before'],
		'left_s' => file_exists(HL_ARMED) ? $snapshot['deadline'] - hrtime(true) / 1e9 : null];
}

/* One vtysh for the session, and one for the routes that the kernel has by this interface. */
function hl_look(array $entry): array {
	$peer = $entry['wanted']['bgp_peer'];
	$ask = ["show bgp neighbors $peer json", "show bgp ipv4 unicast neighbors $peer advertised-routes json",
		"show bgp ipv4 unicast neighbors $peer routes json"];
	$words = implode(' ', array_map(fn($show) => '-c ' . escapeshellarg($show), $ask));
	[$status, $routes] = hl_run(HL_VTYSH . " -c 'show ip route json'");
	$found = ['bgp' => hl_run(HL_VTYSH . " -d bgpd $words")[1], 'routes' => $status === 0 ? hl_routes($routes, "ipsec{$entry['n']}") : []];
	if ($entry['wanted']['probe'] !== null) {
		$found['probe'] = hl_probe($entry['wanted']['probe'], $entry['wanted']['bgp_address']);
	}
	return $found;
}

function hl_routes(string $json, string $interface): array {
	$found = [];
	foreach ((array)json_decode($json, true) as $prefix => $routes) {
		foreach ((array)$routes as $route) {
			foreach ($route['nexthops'] ?? [] as $hop) {
				if (!empty($route['installed']) && !empty($hop['fib']) && ($hop['interfaceName'] ?? '') === $interface) {
					$found[$prefix] = true;
				}
			}
		}
	}
	return array_map('strval', array_keys($found));
}

function hl_probe(string $target, string $from): array {
	[$status, $said] = hl_run('/sbin/ping -n -c 1 -t 1 -S ' . escapeshellarg($from) . ' ' . escapeshellarg($target));
	$time = preg_match('/time=([\d.]+)/', $said, $match) ? (float)$match[1] : null;
	return ['target' => $target, 'ok' => $status === 0, 'rtt_ms' => $status === 0 ? $time : null];
}

function hl_sas(): array {
	foreach (['ipsec_list_sa', 'pfSense_ipsec_list_sa'] as $list) {
		if (function_exists($list)) {
			return $list() ?: [];
		}
	}
	return [];
}

/* Only what the agent reads, and no SPI: health, and what was negotiated. */
const HL_ALGORITHMS = ['encr-alg', 'encr-keysize', 'integ-alg', 'prf-alg', 'dh-group'];
function hl_sa(array $sa): array {
	$keep = array_flip(['con-id', 'uniqueid', 'state', 'local-host', 'local-id', 'remote-host', 'remote-id', 'initiator', 'established',
		'nat-remote', 'nat-local', 'nat-any', 'rekey-time', ...HL_ALGORITHMS]);
	$child = array_flip(['name', 'uniqueid', 'state', 'reqid', 'bytes-in', 'bytes-out', 'use-in', 'use-out', 'install-time', 'rekey-time',
		'local-ts', 'remote-ts', ...HL_ALGORITHMS]);
	$children = array_map(fn($c) => array_intersect_key($c, $child), array_values($sa['child-sas'] ?? []));
	return array_intersect_key($sa, $keep) + ['child-sas' => $children];
}

/* What a person should know: rules in front of ours that keep them from ever matching, and rules that nobody makes. */
function hl_notes(array $config, array $registry): array {
	$ours = array_map('strval', array_merge([], ...array_values(array_map(fn($e) => array_values($e['trackers']), $registry['connections']))));
	$tabs = array_unique(array_column($registry['connections'], 'filter'));
	$notes = $blocks = [];
	foreach (hl_list($config, 'filter/rule') as $rule) {
		$mine = in_array((string)($rule['tracker'] ?? ''), $ours, true);
		if (!isset($rule['disabled']) && in_array($rule['interface'] ?? '', $tabs, true) && in_array($rule['type'] ?? '', ['block', 'reject'], true)) {
			$blocks[] = ($rule['descr'] ?? '') ?: "tracker {$rule['tracker']}";
		} elseif ($mine && $blocks) {
			$where = $rule['interface'] === 'enc0' ? '' : ' (by ipsec/filtermode, that of the tunnel\'s own interface)';
			$notes[] = "rules on the IPsec tab block$where before those of Homelink: " . implode(', ', $blocks);
			break;
		}
	}
	if ($registry['connections'] && array_get_path($config, 'system/disablevpnrules') !== null) {
		$peers = implode(', ', array_column(array_column($registry['connections'], 'wanted'), 'peer'));
		$notes[] = 'the auto-added VPN rules are switched off (disablevpnrules, System > Advanced > Firewall & NAT): only this end ' .
			"can begin, unless the WAN has rules of your own for UDP 500 and 4500 from $peers";
	}
	return $notes;
}

function hl_versions(): array {
	[$status, $packages] = hl_run("/usr/local/sbin/pkg-static query '%n %v' pfSense-pkg-frr pfSense-pkg-RESTAPI");
	[, $frr] = hl_run(HL_VTYSH . " -c 'show version'");
	return [
		'pfsense' => trim((string)@file_get_contents('/etc/version')),
		'frr' => preg_match('/FRRouting (\S+)/', $frr, $match) ? $match[1] : '',
		'packages' => $status === 0 ? explode("\n", trim($packages)) : [],
	];
}
