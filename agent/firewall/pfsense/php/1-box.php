<?php
/*
 * Homelink on pfSense: the part of the driver that runs on the firewall (php -f FILE ACTION [REQUEST]).
 *
 * One process makes one transaction: read config.xml, compute, check, write once, apply once. The agent sends what it wants
 * as a file; this file is put together from php/*.php, is kept under /conf (which survives a reboot and a RAM disk), and is
 * also what the dead-man timer starts. Its answer is one line of JSON behind MARK, so that a notice of PHP in front of it
 * does no harm. Nothing here prints a pre-shared key.
 */
ini_set('zend.exception_ignore_args', '1');
ini_set('display_errors', '0');
umask(077);

const HL_HOME = '/conf/homelink';
const HL_CONFIG = '/cf/conf/config.xml';
const HL_SWANCTL = '/var/etc/ipsec/swanctl.conf';
const HL_FRR = '/var/etc/frr/frr.conf';
const HL_VTYSH = '/usr/local/bin/vtysh';
/* Both are in /var/run because a boot empties it: after a boot everything is applied, and no timer is running. */
const HL_UNAPPLIED = '/var/run/homelink.unapplied';
const HL_ARMED = '/var/run/homelink.armed';
const HL_MARK = 'HOMELINK ';

/* Refused: what is asked cannot be, nothing was written. Busy: try again. Anything else is a failure. */
class HlRefused extends Exception {}
class HlBusy extends Exception {}
/* Busy, but the change was written, and somebody saved over it. */
class HlOverwritten extends HlBusy {}

function hl_include(): void {
	foreach (['config.inc', 'functions.inc', 'filter.inc', 'shaper.inc', 'ipsec.inc', 'interfaces.inc', 'gwlb.inc', 'vpn.inc'] as $file) {
		require_once($file);
	}
	if (is_file('/usr/local/pkg/frr.inc')) {
		require_once('/usr/local/pkg/frr.inc');
	}
	$_SESSION['Username'] = 'homelink'; /* shown in the revision of config.xml */
}

/* Functions of the IPsec code that in 2.7.2 also want to be told the status of the gateways. */
function hl_call(string $function, ...$arguments) {
	if ((new ReflectionFunction($function))->getNumberOfRequiredParameters() > count($arguments)) {
		$arguments[] = return_gateways_status(true);
	}
	return $function(...$arguments);
}

/* The configuration as the file has it now, past every cache. */
function hl_read(): array {
	/* 2.7.2 has only parse_config(), master has only config_read_file() */
	if (function_exists('config_read_file')) {
		config_read_file(true, false);
	} else {
		parse_config(true);
	}
	return config_get_path('');
}

function hl_hash(): string {
	clearstatcache();
	return hash_file('sha256', HL_CONFIG);
}

/*
 * The configuration and its hash, with the gateways known: get_gateways() writes config.xml by itself when it finds a new
 * gateway, and later calls would write whatever is in memory then.
 */
function hl_read_clean(): array {
	hl_read();
	unset($GLOBALS['GatewaysCache']);
	if (function_exists('get_gateways')) { /* 2.7.2 has neither it nor the habit */
		get_gateways();
	}
	$hash = hl_hash();
	$config = hl_read();
	if (hl_hash() !== $hash) {
		throw new HlBusy('config.xml changed while it was read');
	}
	return [$config, $hash];
}

/* Through XML and back, so that it compares with what will be read: numbers become texts, true becomes '', [] vanishes. */
function hl_normal(array $config): array {
	$file = tempnam('/tmp', 'homelink');
	file_put_contents($file, dump_xml_config($config, g_get('xml_rootobj')));
	$config = parse_xml_config($file, [g_get('xml_rootobj')]);
	unlink($file);
	return $config;
}

function hl_equal(array $a, array $b): bool {
	unset($a['revision'], $b['revision']);
	return dump_xml_config($a, g_get('xml_rootobj')) === dump_xml_config($b, g_get('xml_rootobj'));
}

/*
 * Writes the configuration once, if the file is still the one that was read. write_config() locks only the writing, so that
 * a save by somebody else in between would be lost; this compares and swaps under pfSense's own lock. What write_config()
 * does besides (backup, revision, HA synchronisation) is done here; it must not be called while the lock is held (it would wait for itself).
 */
function hl_write(array $config, string $hash, string $why): void {
	for ($i = 0; file_exists('/tmp/.RESTAPI.write_config.lock') && $i < 10; $i++) {
		sleep(1); /* the REST package reads and writes under this one; after 10 s it is a left-over of a crash */
	}
	backup_config();
	config_set_path('', $config);
	config_set_path('revision', make_config_revision_entry("homelink: $why"));
	$text = dump_xml_config(config_get_path(''), g_get('xml_rootobj'));
	$lock = lock('config', LOCK_EX);
	if (hl_hash() !== $hash) {
		unlock($lock);
		hl_read();
		throw new HlBusy('somebody else saved the configuration in between');
	}
	$written = safe_write_file(HL_CONFIG, $text);
	@unlink('/tmp/config.cache'); /* 2.8 would believe the cache although the file is newer */
	unlock($lock);
	hl_read();
	if (!$written) {
		throw new Exception('config.xml cannot be written: is the disk full or read-only?');
	}
	cleanup_backupcache(true);
	if (function_exists('send_event')) {
		send_event('filter sync');
	}
}

/*
 * Agent, dead-man and a second agent take turns. Not pfSense's lock(): its file would be inherited by what is started
 * meanwhile (the timer, charon), and with it the lock. Held for as long as the returned file is open.
 */
function hl_lock() {
	$file = fopen('/tmp/homelink.lock', 'ce');
	for ($i = 0; $i < 40; $i++) {
		if (flock($file, LOCK_EX | LOCK_NB)) {
			return $file;
		}
		usleep(250000);
	}
	throw new HlBusy('another change of Homelink is under way');
}

function hl_list(array $config, string $path): array {
	$list = array_get_path($config, $path, []);
	return is_array($list) ? array_values($list) : [];
}

function hl_find(array $list, callable $is): ?int {
	foreach ($list as $i => $entry) {
		if (is_array($entry) && $is($entry)) {
			return $i;
		}
	}
	return null;
}

/* True for '', null and what holds nothing else: such an element carries no meaning. */
function hl_empty($value): bool {
	if (is_array($value)) {
		foreach ($value as $v) {
			if (!hl_empty($v)) {
				return false;
			}
		}
		return true;
	}
	return $value === '' || $value === null;
}

function hl_save(string $name, $data): void {
	@mkdir(HL_HOME, 0700, true);
	$file = HL_HOME . '/' . $name;
	file_put_contents("$file.new", json_encode($data, JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR));
	if (!rename("$file.new", $file)) {
		throw new Exception("$file cannot be written: is the disk full or read-only?");
	}
}

function hl_load(string $name): ?array {
	$file = HL_HOME . '/' . $name;
	return is_file($file) ? json_decode(file_get_contents($file), true) : null;
}

/* [exit status, output]; never with a secret in the command. */
function hl_run(string $command): array {
	exec("$command 2>&1 </dev/null", $lines, $status);
	return [$status, implode("\n", $lines)];
}
