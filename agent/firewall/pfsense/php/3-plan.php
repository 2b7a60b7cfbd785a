<?php
/*
 * From the configuration that is there and the tunnel that is wanted to the configuration that shall be. Pure but for asking
 * which interface has which address; every refusal is here, before anything is written.
 */

/* The lowest number that is free as ikeid, as reqid and as ipsecN: one number for the three, because pfSense's rule for
 * outbound states names ipsec<ikeid> where the interface is ipsec<reqid>. */
function hl_free_number(array $config): int {
	$used = array_merge(array_column(hl_list($config, 'ipsec/phase1'), 'ikeid'), array_column(hl_list($config, 'ipsec/phase2'), 'reqid'));
	foreach (array_get_path($config, 'interfaces', []) as $interface) {
		if (preg_match('/^ipsec(\d+)$/', $interface['if'] ?? '', $match)) {
			$used[] = $match[1];
		}
	}
	for ($n = 1; in_array((string)$n, array_map('strval', $used), true); $n++);
	return $n;
}

/* The lowest optN that occurs nowhere, not even in a left-over reference, which would come alive. */
function hl_free_interface(array $config): string {
	$text = dump_xml_config($config, g_get('xml_rootobj'));
	for ($i = 1; isset($config['interfaces']["opt$i"]) || preg_match("/\\bopt$i\\b/", $text); $i++);
	return "opt$i";
}

function hl_new_entry(array $config): array {
	return ['n' => hl_free_number($config), 'opt' => hl_free_interface($config), 'uniqid' => uniqid(), 'created' => time(), 'trackers' => [],
		'own' => [], 'uses' => []];
}

/* A tracker per rule, the same as before where the rule was there before. */
function hl_trackers(array $config, array $before, array $rules): array {
	$used = array_map('intval', array_merge(array_column(hl_list($config, 'filter/rule'), 'tracker'), array_values($before)));
	$next = max([time(), ...$used]) + 1;
	$trackers = [];
	foreach ($rules as $rule) {
		$trackers[$rule['key']] = $before[$rule['key']] ?? $next++;
	}
	return $trackers;
}

function hl_interface_with(array $config, string $address): ?string {
	foreach (array_keys(array_get_path($config, 'interfaces', [])) as $name) {
		if (isset($config['interfaces'][$name]['enable']) && get_interface_ip($name) === $address) {
			return $name;
		}
	}
	return null;
}

/*
 * [configuration, registry] with the tunnel in it. $request: {wanted, desired, generation, consent}; $key: the pre-shared key.
 */
function hl_build(array $config, array $request, string $key): array {
	$wanted = $request['wanted'];
	$name = $wanted['connection'];
	$registry = hl_registry($config);
	$old = $registry['connections'][$name] ?? null;
	$entry = $old ?? hl_new_entry($config);
	$entry = ['wanted' => $wanted, 'desired' => $request['desired'], 'generation' => $request['generation']] + $entry;
	$apipa = $wanted['bgp_address'] === $wanted['tunnel_address'];
	$entry['lan'] = $apipa ? $entry['opt'] : (hl_interface_with($config, $wanted['bgp_address']) ?? '');
	$entry['filter'] = hl_filter($config, $entry['opt']);
	$entry['local_as'] = hl_foreign_asn($config, $registry, $wanted['asn']);
	$entry['trackers'] = hl_trackers($config, $entry['trackers'], $wanted['objects']['rule']);
	$entry['key'] = hl_key_mark($key, $entry);
	$objects = hl_objects($entry, $key);
	$refusals = hl_refusals($config, $registry, $entry, $objects, $request['consent']);
	if ($refusals) {
		throw new HlRefused(implode('; ', $refusals));
	}
	foreach (HL_PARENTS as $path) {
		if (array_get_path($config, $path) === null && !in_array($path, $registry['shared']['parents'])) {
			$registry['shared']['parents'][] = $path;
		}
	}
	foreach (array_diff($entry['uses'], array_keys($wanted['scalars'])) as $path) {
		hl_release_scalar($config, $registry, $path, [$name]);
	}
	$entry['uses'] = [];
	foreach ($wanted['scalars'] as $path => $value) {
		if (hl_use_scalar($config, $registry, $name, $path, $value)) {
			$entry['uses'][] = $path;
		}
	}
	hl_use_networks($config, $registry, $name, $wanted['networks']);
	foreach ($objects as $kind => $wants) {
		$entry['own'][$kind] = hl_put($config, $kind, $wants, $entry['own'][$kind] ?? [], $entry['opt']);
	}
	$registry['connections'][$name] = $entry;
	hl_set_registry($config, $registry);
	return [hl_normal($config), $registry];
}

/* Puts the wanted objects of a kind in place of those that are ours; returns the ids. */
function hl_put(array &$config, string $kind, array $wants, array $own, string $opt): array {
	if ($kind === 'interface') {
		$have = array_get_path($config, "interfaces/$opt", []);
		if (hl_differences($kind, $wants[0], $have)) {
			array_set_path($config, "interfaces/$opt", hl_merge($kind, $wants[0], $have));
		}
		return [$opt];
	}
	$path = HL_KINDS[$kind][0];
	$list = hl_list($config, $path);
	$ids = array_map(fn($want) => hl_id($kind, $want), $wants);
	$gone = array_values(array_diff($own, $ids));
	$new = array_values(array_diff($ids, $own));
	foreach ($wants as $want) {
		$id = hl_id($kind, $want);
		/* a neighbour whose address changed is renamed where it stands */
		$was = $kind === 'neighbour' && count($gone) === 1 && count($new) === 1 ? $gone[0] : $id;
		$i = hl_find($list, fn($e) => hl_id($kind, $e) === $id) ?? hl_find($list, fn($e) => hl_id($kind, $e) === $was);
		if ($i === null) {
			$list[] = $want; /* at the end: pages and REST ids count positions */
		} elseif (hl_differences($kind, $want, $list[$i])) {
			$list[$i] = hl_merge($kind, $want, $list[$i]);
		}
	}
	$list = array_values(array_filter($list, fn($e) => !is_array($e) || !in_array(hl_id($kind, $e), $gone, true)));
	array_set_path($config, $path, $list);
	return $ids;
}

/* Sorted, so that going back gives the same text. */
function hl_users(array $some, array $more): array {
	$users = array_unique([...$some, ...$more]);
	sort($users);
	return $users;
}

/* Sets a scalar where nobody set it; true if it is ours, with this Connection among its users. */
function hl_use_scalar(array &$config, array &$registry, string $name, string $path, $value): bool {
	$have = array_get_path($config, $path);
	$shared = $registry['shared']['scalars'][$path] ?? null;
	if ($shared === null) {
		$others = str_starts_with($path, 'ipsec/ikev2_retransmit_') && hl_enabled_foreign($config, $registry);
		if ($others || ($value === true ? $have !== null : !hl_empty($have))) {
			return false;
		}
		$value = $value === '@random@' ? bin2hex(random_bytes(8)) : ($value === true ? '' : $value);
		$shared = ['old' => $have, 'new' => $value, 'users' => []];
	} elseif ($shared['users'] === [$name] && $value !== true && $value !== '@random@' && $have === $shared['new']) {
		$shared['new'] = $value; /* nobody else needs the old value */
	}
	$shared['users'] = hl_users($shared['users'], [$name]);
	if (hl_empty($have) || $have === ($registry['shared']['scalars'][$path]['new'] ?? null)) {
		array_set_path($config, $path, $shared['new']);
	}
	$registry['shared']['scalars'][$path] = $shared;
	return true;
}

/* Announced networks: a row of our own only where there is none. */
function hl_use_networks(array &$config, array &$registry, string $name, array $networks): void {
	foreach (array_keys($registry['shared']['networks']) as $network) {
		if (!in_array($network, $networks)) {
			hl_release_network($config, $registry, $network, [$name]);
		}
	}
	foreach ($networks as $network) {
		$users = $registry['shared']['networks'][$network] ?? [];
		hl_use_network($config, $registry, $network, hl_users($users, [$name]));
	}
}

/* Gives a network exactly these users, where it is ours or nobody's. */
function hl_use_network(array &$config, array &$registry, string $network, array $users): void {
	$rows = hl_list($config, HL_NETWORKS);
	if (hl_find($rows, fn($row) => ($row['distributeroutevalue'] ?? '') === $network) === null) {
		$rows[] = ['distributeroutevalue' => $network, 'distributeroutemap' => 'none'];
		array_set_path($config, HL_NETWORKS, $rows);
	} elseif (!isset($registry['shared']['networks'][$network])) {
		return; /* a row of somebody else's */
	}
	$registry['shared']['networks'][$network] = $users;
}

/* Without these users; with the last of them the old value comes back, unless somebody changed ours. */
function hl_release_scalar(array &$config, array &$registry, string $path, array $names): void {
	$shared = $registry['shared']['scalars'][$path];
	$left = array_values(array_diff($shared['users'], $names));
	if ($left) {
		$registry['shared']['scalars'][$path]['users'] = $left;
		return;
	}
	unset($registry['shared']['scalars'][$path]);
	if (array_get_path($config, $path) !== $shared['new']) {
		return;
	}
	if ($shared['old'] === null) {
		array_del_path($config, $path);
	} else {
		array_set_path($config, $path, $shared['old']);
	}
}

function hl_release_network(array &$config, array &$registry, string $network, array $names): void {
	$left = array_values(array_diff($registry['shared']['networks'][$network], $names));
	if ($left) {
		$registry['shared']['networks'][$network] = $left;
		return;
	}
	unset($registry['shared']['networks'][$network]);
	$rows = array_filter(hl_list($config, HL_NETWORKS), fn($row) => ($row['distributeroutevalue'] ?? '') !== $network);
	array_set_path($config, HL_NETWORKS, array_values($rows));
}

/* Enabled phase 1 entries that are not Homelink's. */
function hl_enabled_foreign(array $config, array $registry): array {
	$ours = array_map('strval', array_column($registry['connections'], 'n'));
	return array_filter(hl_list($config, 'ipsec/phase1'), fn($p) => !isset($p['disabled']) && !in_array((string)$p['ikeid'], $ours, true));
}

/* Set by us, and still with our value. */
function hl_is_ours(array $config, array $registry, string $path): bool {
	return array_get_path($config, $path) === ($registry['shared']['scalars'][$path]['new'] ?? false);
}

/* True if BGP runs here with somebody else's ASN, other than the one that is wanted. */
function hl_foreign_asn(array $config, array $registry, string $asn): bool {
	$have = array_get_path($config, HL_ASN, '');
	return $have !== '' && $have !== $asn && !hl_is_ours($config, $registry, HL_ASN);
}

/* Why it cannot be; empty if it can. */
function hl_refusals(array $config, array $registry, array $entry, array $objects, bool $consent): array {
	$why = [];
	$wanted = $entry['wanted'];
	$name = $wanted['connection'];
	if (!function_exists('frr_generate_config')) {
		return ['the FRR package is not installed: install pfSense-pkg-frr (System > Package Manager)'];
	}
	$phase1 = $objects['phase1'][0];
	if (!isset($config['interfaces'][$phase1['interface']]['enable'])) {
		$why[] = "there is no enabled interface {$phase1['interface']}: set `wan` in agent.toml";
	}
	if ($entry['lan'] === '') {
		$why[] = "no interface of this firewall has the BGP address {$wanted['bgp_address']}: spec.home.bgpAddress is the firewall's own address in the LAN";
	}
	foreach (['frr', 'bgpd'] as $raw) {
		if (!hl_empty(array_get_path($config, "installedpackages/frrglobalraw/config/0/$raw"))) {
			$why[] = "FRR runs on a raw configuration ($raw), which overrides everything: move it into FRR's pages first";
		}
	}
	$asn = array_get_path($config, HL_ASN, '');
	$others = array_diff($registry['shared']['scalars'][HL_ASN]['users'] ?? [], [$name]);
	if ($asn !== '' && $asn !== $wanted['asn'] && $others) {
		$why[] = "Connection " . implode(', ', $others) . " runs BGP with ASN $asn here, this one wants {$wanted['asn']}: one firewall has one ASN";
	}
	$foreign = ($asn !== '' && !hl_is_ours($config, $registry, HL_ASN)) ||
		(!hl_empty(array_get_path($config, HL_FRR_ON)) && !hl_is_ours($config, $registry, HL_FRR_ON));
	if ($foreign && !$consent) {
		$why[] = 'FRR is set up here already' . ($asn !== '' ? " with ASN $asn" : '') .
			": `merge_bgp = true` in agent.toml lets Homelink add its neighbour to it, and replaces nothing";
	}
	foreach (hl_list($config, 'ipsec/phase1') as $other) {
		if ((string)$other['ikeid'] !== (string)$entry['n'] && !isset($other['disabled']) && ($other['remote-gateway'] ?? '') === $phase1['remote-gateway']) {
			$why[] = "phase 1 {$other['ikeid']} ({$other['descr']}) leads to {$phase1['remote-gateway']} already: remove or disable it first";
		}
	}
	$phase2 = $objects['phase2'][0];
	foreach (hl_list($config, 'ipsec/phase2') as $other) {
		$addresses = [$other['localid']['address'] ?? '', $other['remoteid']['address'] ?? ''];
		$same = array_intersect($addresses, [$phase2['localid']['address'], $phase2['remoteid']['address']]);
		if (($other['mode'] ?? '') === 'vti' && ($other['uniqid'] ?? '') !== $entry['uniqid'] && !isset($other['disabled']) && $same) {
			$why[] = 'another VTI uses ' . implode(' and ', $same) . ' already: choose another transit';
		}
	}
	foreach (['gateway', 'prefix_list', 'route_map', 'neighbour'] as $kind) {
		foreach ($objects[$kind] as $want) {
			$id = hl_id($kind, $want);
			$there = hl_find(hl_list($config, HL_KINDS[$kind][0]), fn($e) => hl_id($kind, $e) === $id);
			if ($there !== null && !in_array($id, $entry['own'][$kind] ?? [], true)) {
				$why[] = "there is a $kind " . strtok($id, '#') . ' that Homelink did not make: rename or remove it first';
			}
		}
	}
	foreach (array_get_path($config, 'interfaces', []) as $id => $interface) {
		if ($id !== $entry['opt'] && strcasecmp($interface['descr'] ?? '', $objects['interface'][0]['descr']) === 0) {
			$why[] = "interface $id is called {$interface['descr']} already: rename it first";
		}
	}
	return $why;
}
