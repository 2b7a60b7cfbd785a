<?php
/*
 * Preview, write, apply. ipsec_configure() destroys and makes anew the interface of every tunnel of the firewall, and FRR then
 * cycles them all, so it runs only when IPsec is switched on or off as a whole; else only ours is touched (`surgical`), with the text
 * that pfSense's own functions generate.
 */

/* What kinds of change lie between two configurations. */
function hl_classes(array $a, array $b): array {
	$differs = fn(string $path) => json_encode(array_get_path($a, $path)) !== json_encode(array_get_path($b, $path));
	$vti = fn(array $config) => json_encode([
		array_map(fn($p) => [$p['ikeid'], $p['remote-gateway'] ?? '', $p['interface'] ?? '', isset($p['disabled'])], hl_list($config, 'ipsec/phase1')),
		array_map(fn($p) => [$p['reqid'], $p['mode'], $p['localid'] ?? '', $p['remoteid'] ?? '', isset($p['disabled'])], hl_list($config, 'ipsec/phase2')),
	]);
	/* the MSS is a line of the filter, and no reason to make an interface anew */
	$interfaces = fn(array $config) => json_encode(array_map(fn($i) => array_diff_key((array)$i, ['mss' => 1]), (array)array_get_path($config, 'interfaces', [])));
	$frr = array_filter(['frr', 'frrbgp', 'frrbgpneighbors', 'frrglobalprefixes', 'frrglobalroutemaps'], fn($s) => $differs("installedpackages/$s"));
	return array_keys(array_filter([
		'ipsec' => $differs('ipsec'),
		'vti' => $vti($a) !== $vti($b),
		'interfaces' => $interfaces($a) !== $interfaces($b),
		'filter' => $differs('filter') || $differs('interfaces') || $differs('system/no_apipa_block'),
		'gateways' => $differs('gateways'),
		'frr' => (bool)$frr,
	]));
}
const HL_ALL = ['ipsec', 'vti', 'interfaces', 'filter', 'gateways', 'frr'];

/*
 * Generates frr.conf and swanctl.conf from $new without touching the firewall, and checks both. The new configuration is in
 * memory for as long as that takes, and nothing may write it meanwhile.
 */
function hl_preview(array $old, array $new, string $hash, array $conns): void {
	config_set_path('', $new);
	try {
		$frr = hl_preview_frr();
		$swanctl = hl_swanctl([]);
	} finally {
		config_set_path('', $old);
	}
	if (hl_hash() !== $hash) {
		throw new HlBusy('config.xml changed during the preview');
	}
	$missing = hl_missing($conns, $frr, $swanctl, true);
	if ($missing !== null) {
		throw new HlRefused("pfSense would not write $missing; nothing was changed");
	}
}

/*
 * The first line that must be there and is not: FRR's package drops what it does not understand, silently. In a preview the
 * tunnel's interface may not exist yet, and the package writes no update-source for an interface without an address.
 */
function hl_missing(array $conns, string $frr, string $swanctl, bool $preview = false): ?string {
	foreach (array_filter($conns, fn($c) => !$c['gone']) as $conn) {
		preg_match("/^\tcon{$conn['n']} \{$.*?^\t\}/ms", $swanctl, $block);
		foreach (['frr.conf' => [$frr, 'frr_lines'], 'swanctl.conf' => [$block[0] ?? '', 'swanctl_lines']] as $file => [$text, $lines]) {
			$late = $preview ? ["neighbor {$conn['bgp_peer']} update-source {$conn['address']}"] : [];
			$lost = array_diff($conn[$lines], $late, array_map('trim', explode("\n", $text)));
			if ($lost) {
				return '`' . reset($lost) . "` into $file";
			}
		}
	}
	return null;
}

/* frr.conf as FRR's package would write it, checked by vtysh. */
function hl_preview_frr(): string {
	global $frr_config_base, $frr_integrated_config;
	if (hl_empty(config_get_path(HL_FRR_ON))) {
		return '';
	}
	$directory = HL_HOME . '/preview';
	@mkdir($directory, 0700, true);
	$frr_integrated_config = ['interfaces' => []];
	foreach (['zebra', 'bgp', 'ospf', 'ospf6', 'rip', 'bfd'] as $part) {
		$generate = "frr_generate_config_$part";
		if (function_exists($generate)) {
			$generate();
		}
	}
	$kept = $frr_config_base;
	$frr_config_base = $directory;
	frr_generate_config_integrated();
	$frr_config_base = $kept;
	[$status, $said] = hl_run(HL_VTYSH . " -C -f $directory/frr.conf");
	$text = (string)@file_get_contents("$directory/frr.conf");
	array_map('unlink', glob("$directory/*"));
	rmdir($directory);
	if ($status !== 0) {
		throw new HlRefused('FRR refuses the configuration, nothing was changed: ' . substr($said, 0, 300));
	}
	return $text;
}

/*
 * The text of swanctl.conf from the configuration in memory. ipsec_setup_tunnels() adds a host route to each peer unless the
 * phase 1 has gw_duplicates; so all have it here, but for those of $routed.
 */
function hl_swanctl(array $routed): string {
	global $rgmap, $filterdns_list, $ifacesuse, $ipseccfg, $scconf, $tunnels, $mobile_configured, $conn_defaults, $ipsec_vti_cleanup_ifs;
	$routed = array_map('strval', array_column($routed, 'n'));
	$ipseccfg = config_get_path('ipsec', []);
	$tunnels = $rgmap = $filterdns_list = $ifacesuse = $ipsec_vti_cleanup_ifs = [];
	$mobile_configured = false;
	foreach (hl_list($ipseccfg, 'phase1') as $phase1) {
		if (isset($phase1['mobile'])) {
			continue; /* it needs what ipsec_configure() sets up; where one is enabled, this text is only looked at */
		}
		$quiet = in_array((string)$phase1['ikeid'], $routed, true) ? [] : ['gw_duplicates' => true];
		$tunnels[$phase1['ikeid']] = $phase1 + ['p2' => []] + $quiet;
		if (isset($phase1['disabled'])) {
			continue;
		}
		$peer = $phase1['remote-gateway'] ?? '';
		$address = $peer === '' || is_ipaddr($peer) ? $peer : resolve_retry($peer, $phase1['protocol'] ?? 'inet');
		if ($address) {
			$rgmap[$peer] = $address;
		}
	}
	foreach (hl_list($ipseccfg, 'phase2') as $phase2) {
		if (isset($tunnels[$phase2['ikeid']])) { /* the REST package deletes a phase 1 and leaves its phase 2 */
			$tunnels[$phase2['ikeid']]['p2'][] = $phase2;
		}
	}
	$conn_defaults = ['fragmentation' => 'yes', 'unique' => config_get_path('ipsec/uniqueids', '') ?: 'replace'];
	$scconf = ['# This file is automatically generated. Do not edit', 'connections' => []];
	hl_call('ipsec_setup_bypass');
	hl_call('ipsec_setup_tunnels');
	$scconf['pools'] = [];
	$scconf['secrets'] = [];
	hl_call('ipsec_setup_secrets');
	return ipsec_strongswan_confgen($scconf);
}

/*
 * One apply. $conns are the Connections that changed, as hl_conn() tells them. The order of an apply: IPsec (the interface gets
 * its address), interface, filter, FRR (it needs the address), gateways. Of a removal: BGP first. Throws when something did not
 * come to be.
 */
function hl_apply(array $old, array $new, array $conns, array $classes): void {
	$has = fn(string ...$any) => (bool)array_intersect($any, $classes);
	$gone = array_filter($conns, fn($c) => $c['gone']);
	$here = array_filter($conns, fn($c) => !$c['gone']);
	unset($GLOBALS['GatewaysCache']);
	if ($gone && $has('frr')) {
		hl_frr();
	}
	if ($has('ipsec', 'interfaces', 'vti')) {
		$surgical = hl_surgical($old) && hl_surgical($new);
		if ($surgical) {
			hl_ipsec_surgical($here, $has('vti', 'interfaces'));
		} else {
			ipsec_configure();
			clear_subsystem_dirty('ipsec'); /* all of it was applied; elsewhere a user's own pending changes stay pending */
		}
		array_map('hl_forget_tunnel', $gone);
		foreach (array_filter($conns, fn($c) => $c['old_peer'] !== null) as $conn) {
			hl_run('/sbin/route -n delete -host ' . escapeshellarg($conn['old_peer']));
		}
		get_interface_arr(true);
		foreach ($has('vti', 'interfaces') || !$surgical ? $here : [] as $conn) {
			interface_configure($conn['opt'], false);
		}
		array_map('hl_restart', array_filter($here, fn($c) => $c['restart']));
	}
	$GLOBALS['interface_ip_arr_cache'] = $GLOBALS['interface_sn_arr_cache'] = [];
	foreach ($here as $conn) {
		$address = get_interface_ip($conn['opt']);
		if ($address !== $conn['address']) {
			throw new Exception("the tunnel's interface ipsec{$conn['n']} has the address " . ($address ?: 'none') . ", not {$conn['address']}");
		}
	}
	if ($has('filter', 'interfaces', 'ipsec') && filter_configure_sync() !== 0 && config_get_path('system/disablefilter') === null) {
		throw new Exception('the packet filter did not take the rules: see the notices on the firewall');
	}
	if ($has('ipsec') && !$surgical) {
		ipsec_reload_package_hook();
	}
	if ($has('frr') && $here) {
		hl_frr();
	}
	$missing = hl_missing($conns, (string)@file_get_contents(HL_FRR), (string)@file_get_contents(HL_SWANCTL));
	if ($missing !== null) {
		throw new Exception("pfSense did not write $missing");
	}
	setup_gateways_monitor();
}

/* IPsec runs, and without mobile clients: their address pools are made by ipsec_configure() alone. */
function hl_surgical(array $config): bool {
	$enabled = array_filter(hl_list($config, 'ipsec/phase1'), fn($p) => !isset($p['disabled']));
	return $enabled && hl_find($enabled, fn($p) => isset($p['mobile'])) === null;
}

/* Ours only: other tunnels keep interface, SA and BGP session. */
function hl_ipsec_surgical(array $here, bool $interfaces): void {
	ipsec_create_dirs();
	foreach ($interfaces ? $here : [] as $conn) {
		hl_call('interface_ipsec_vti_configure', ipsec_get_phase1($conn['n']));
	}
	safe_write_file(HL_SWANCTL, hl_swanctl($here));
	mwexec_bg('/usr/local/sbin/strongswanrc ' . (isvalidpid('/var/run/charon.pid') ? 'reload' : 'start'));
	foreach ($interfaces ? $here : [] as $conn) {
		hl_run("/usr/local/bin/frrctl cycleinterface ipsec{$conn['n']}"); /* zebra would keep the routes of the old one inactive */
	}
}

function hl_frr(): void {
	frr_generate_config();
	if (!hl_empty(config_get_path(HL_FRR_ON))) {
		return;
	}
	/* with its section gone the package does nothing at all, and the daemons would run on */
	mwexec('/usr/local/etc/rc.d/frr.sh stop');
	array_map(fn($file) => @unlink($file), ['/usr/local/etc/rc.conf.d/frr', HL_FRR, '/var/etc/frr/vtysh.conf']);
}

/* What pfSense leaves behind of a tunnel that is no longer in the configuration: SA, interface, files. */
function hl_forget_tunnel(array $conn): void {
	$interface = "ipsec{$conn['n']}";
	hl_run("/usr/local/sbin/swanctl --terminate --force --timeout 2 --ike con{$conn['n']}");
	if (does_interface_exist($interface, true)) {
		mwexec('/sbin/ifconfig ' . escapeshellarg($interface) . ' destroy');
	}
	foreach (['', '.last', 'v6', 'v6.last'] as $suffix) {
		@unlink("/tmp/{$interface}_router$suffix");
	}
	if (!ipsec_enabled()) {
		@unlink(HL_SWANCTL); /* it holds the keys */
	}
}

/* An SA negotiated with other values than now: closed by force, then started with the new ones. */
function hl_restart(array $conn): void {
	$con = "con{$conn['n']}";
	$swanctl = '/usr/local/sbin/swanctl';
	mwexec_bg("/bin/sh -c 'sleep 1; $swanctl --terminate --force --timeout 2 --ike $con; $swanctl --initiate --timeout 5 --child $con'");
}
