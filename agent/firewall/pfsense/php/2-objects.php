<?php
/*
 * What Homelink owns in config.xml. The registry, a section of our own, says which objects, scalars and networks are ours, for
 * which Connection; pfSense's pages and the REST package leave it alone, while they drop marks inside an object. The
 * description of an object is for people only.
 *
 * registry = { connections: { NAME: {n, opt, uniqid, created, trackers, own, uses, wanted, desired, generation, key} },
 *              shared: { scalars: {PATH: {old, new, users}}, networks: {PREFIX: users}, parents: [PATH] } }
 */
const HL_REGISTRY = 'installedpackages/homelink';

/* kind => [path of the list, keys that identify an entry] */
const HL_KINDS = [
	'phase1' => ['ipsec/phase1', ['ikeid']],
	'phase2' => ['ipsec/phase2', ['uniqid']],
	'gateway' => ['gateways/gateway_item', ['name']],
	'rule' => ['filter/rule', ['tracker']],
	'prefix_list' => ['installedpackages/frrglobalprefixes/config', ['name']],
	'route_map' => ['installedpackages/frrglobalroutemaps/config', ['name', 'seq']],
	'neighbour' => ['installedpackages/frrbgpneighbors/config', ['peer']],
];
const HL_NETWORKS = 'installedpackages/frrbgp/config/0/row';
const HL_ASN = 'installedpackages/frrbgp/config/0/asnum';
const HL_FRR_ON = 'installedpackages/frr/config/0/enable';
const HL_PARENTS = ['gateways', 'ipsec', 'ipsec/phase1', 'ipsec/phase2', 'filter', 'filter/rule', 'installedpackages',
	'installedpackages/frr', 'installedpackages/frrbgp', 'installedpackages/frrbgpneighbors',
	'installedpackages/frrglobalprefixes', 'installedpackages/frrglobalroutemaps', HL_NETWORKS];

/* Fields that change what an object of ours means although we never write them. Those of HL_PRESENT count by being there. */
const HL_FOREIGN = [
	'phase1' => ['disabled', 'mobile', 'splitconn', 'gw_duplicates', 'prfselect_enable', 'tfc_enable'],
	'phase2' => ['disabled', 'mobile', 'natlocalid'],
	'rule' => ['disabled', 'floating', 'gateway', 'sched', 'direction'],
	'neighbour' => ['shutdown', 'passive', 'disableconnectedcheck', 'ttlsecurityhops', 'localas_num'],
	'gateway' => ['disabled'],
	'interface' => ['ipaddr', 'blockpriv', 'blockbogons'],
];
const HL_PRESENT = ['disabled', 'mobile', 'splitconn', 'gw_duplicates', 'blockpriv', 'blockbogons'];
const HL_WHOLE = ['source', 'destination', 'localid', 'remoteid'];

function hl_registry(array $config): array {
	$state = array_get_path($config, HL_REGISTRY . '/config/0/state', '');
	$registry = $state ? json_decode(base64_decode($state), true) : [];
	$shared = ($registry['shared'] ?? []) + ['scalars' => [], 'networks' => [], 'parents' => []];
	return ['connections' => $registry['connections'] ?? [], 'shared' => $shared];
}

function hl_set_registry(array &$config, array $registry): void {
	if ($registry['connections']) {
		$note = 'Kept by the Homelink agent: what it made on this firewall. Do not edit.';
		$state = base64_encode(json_encode($registry, JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR));
		array_set_path($config, HL_REGISTRY . '/config/0', ['note' => $note, 'state' => $state]);
	} else {
		array_del_path($config, HL_REGISTRY);
	}
}

function hl_id(string $kind, array $entry): string {
	return implode('#', array_map(fn($key) => (string)($entry[$key] ?? ''), HL_KINDS[$kind][1]));
}

/* Does $have mean what $want says? '' and absent are the same, numbers are texts, what $want does not name may be anything. */
function hl_means($want, $have): bool {
	if ($want === true) {
		return $have !== null;
	}
	if (!is_array($want)) {
		return !is_array($have) ? (string)$want === (string)($have ?? '') : ((string)$want === '' && hl_empty($have));
	}
	if (!is_array($have) || (array_is_list($want) && count($want) !== count($have))) {
		return false;
	}
	foreach ($want as $key => $value) {
		if (!hl_means($value, $have[$key] ?? null)) {
			return false;
		}
	}
	return true;
}

/* The names of the fields in which an entry differs from what is wanted of it. */
function hl_differences(string $kind, array $want, array $have): array {
	$found = [];
	foreach ($want as $key => $value) {
		$others = in_array($key, HL_WHOLE) ? array_diff_key(array_filter((array)($have[$key] ?? []), fn($v) => !hl_empty($v)), $value) : [];
		if (!hl_means($value, $have[$key] ?? null) || $others) {
			$found[] = $key;
		}
	}
	foreach (HL_FOREIGN[$kind] ?? [] as $key) {
		if (isset($have[$key]) && !isset($want[$key]) && (in_array($key, HL_PRESENT) || !hl_empty($have[$key]))) {
			$found[] = $key;
		}
	}
	return $found;
}

/* What is wanted laid over what is there: fields keep their order, those of the user that do no harm stay. */
function hl_merge(string $kind, array $want, array $have): array {
	return array_replace(array_diff_key($have, array_flip(HL_FOREIGN[$kind] ?? [])), $want);
}

/* $wanted with its placeholders filled in for one Connection, and the key put in: kind => entries. */
function hl_objects(array $entry, ?string $key): array {
	$fill = ['@n@' => (string)$entry['n'], '@opt@' => $entry['opt'], '@lan@' => $entry['lan'], '@filter@' => $entry['filter'],
		'@uniqid@' => $entry['uniqid'], '@created@' => (string)$entry['created']];
	$objects = $entry['wanted']['objects'];
	array_walk_recursive($objects, function (&$value) use ($fill) {
		$value = is_string($value) ? strtr($value, $fill) : $value;
	});
	foreach ($objects['rule'] as &$rule) {
		$rule['tracker'] = (string)$entry['trackers'][$rule['key']];
		unset($rule['key']);
	}
	unset($rule);
	if ($entry['local_as']) {
		/* the firewall keeps its own ASN; towards Azure the session shows the Connection's */
		$objects['neighbour'][0] += ['localas_num' => $entry['wanted']['asn'], 'localas_noprepend' => 'on', 'localas_replaceas' => 'on'];
	}
	if ($key !== null) {
		$objects['phase1'][0]['pre-shared-key'] = $key;
	}
	return $objects;
}

/* The objects of a Connection as they are in the configuration: kind => id => [index, entry]. */
function hl_owned(array $config, ?array $entry): array {
	$found = [];
	foreach ($entry['own'] ?? [] as $kind => $ids) {
		if ($kind === 'interface') {
			foreach ($ids as $id) {
				$have = array_get_path($config, "interfaces/$id");
				if ($have !== null) {
					$found[$kind][$id] = [0, $have];
				}
			}
			continue;
		}
		foreach (hl_list($config, HL_KINDS[$kind][0]) as $i => $have) {
			if (is_array($have) && in_array(hl_id($kind, $have), $ids, true)) {
				$found[$kind][hl_id($kind, $have)] = [$i, $have];
			}
		}
	}
	return $found;
}

/* The tab whose rules see what comes out of a VTI: that of IPsec, or by `ipsec/filtermode` that of its own interface. */
function hl_filter(array $config, string $opt): string {
	return array_get_path($config, 'ipsec/filtermode', 'enc') === 'if_ipsec' ? $opt : 'enc0';
}

/* Not the key itself: enough to see that somebody put another one there. */
function hl_key_mark(string $key, array $entry): string {
	return hash_hmac('sha256', $key, $entry['uniqid']);
}

/* How what is there differs from what the registry says, in words for a person. */
function hl_drift(array $config, array $registry, string $name): array {
	$entry = $registry['connections'][$name] ?? null;
	if ($entry === null) {
		return ['registry: gone'];
	}
	$found = [];
	$owned = hl_owned($config, $entry);
	foreach (hl_objects($entry, null) as $kind => $wanted) {
		foreach ($wanted as $want) {
			$id = $kind === 'interface' ? $entry['opt'] : hl_id($kind, $want);
			$have = $owned[$kind][$id][1] ?? null;
			if ($have === null) {
				$found[] = "$kind $id: gone";
				continue;
			}
			foreach (hl_differences($kind, $want, $have) as $field) {
				$found[] = "$kind $id: $field was changed";
			}
			if ($kind === 'phase1' && hl_key_mark((string)($have['pre-shared-key'] ?? ''), $entry) !== $entry['key']) {
				$found[] = "$kind $id: pre-shared-key was changed";
			}
		}
	}
	foreach ($entry['uses'] as $path) {
		$scalar = $registry['shared']['scalars'][$path] ?? null;
		if ($scalar && hl_empty(array_get_path($config, $path)) && !($scalar['new'] === '' && array_get_path($config, $path) !== null)) {
			$found[] = "$path: gone";
		}
	}
	if (!$entry['local_as'] && (string)array_get_path($config, HL_ASN, '') !== $entry['wanted']['asn']) {
		$found[] = HL_ASN . ': was changed';
	}
	if ($entry['filter'] !== hl_filter($config, $entry['opt'])) {
		$found[] = 'ipsec/filtermode: was changed, so the rules are on the wrong tab';
	}
	$networks = array_column(array_filter(hl_list($config, HL_NETWORKS), 'is_array'), 'distributeroutevalue');
	foreach (array_diff($entry['wanted']['networks'], $networks) as $network) {
		$found[] = "network $network: gone";
	}
	return $found;
}
