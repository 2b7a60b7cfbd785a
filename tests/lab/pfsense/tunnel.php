/* A tunnel to Azure as a person would enter it; @names@ are filled in by azure.py. */
config_set_path('ipsec/phase1/', ['ikeid' => '@number@', 'iketype' => 'ikev2', 'interface' => 'wan', 'remote-gateway' => '@peer@', 'protocol' => 'inet',
  'myid_type' => 'myaddress', 'peerid_type' => 'peeraddress', 'encryption' => ['item' => [['encryption-algorithm' => ['name' => 'aes256gcm', 'keylen' => '128'], 'hash-algorithm' => 'sha384', 'prf-algorithm' => 'sha256', 'dhgroup' => '20']]], 'lifetime' => '28800', 'rekey_time' => '25920',
  'reauth_time' => '0', 'rand_time' => '2880', 'pre-shared-key' => '@psk@', 'authentication_method' => 'pre_shared_key', 'descr' => 'azure',
  'nat_traversal' => 'on', 'mobike' => 'off', 'startaction' => 'start', 'closeaction' => 'start', 'dpd_delay' => '10', 'dpd_maxfail' => '5']);
config_set_path('ipsec/phase2/', ['ikeid' => '@number@', 'uniqid' => 'u@number@', 'mode' => 'vti', 'reqid' => '@number@',
  'localid' => ['type' => 'address', 'address' => '@local@'], 'remoteid' => ['type' => 'address', 'address' => '@remote@'], 'protocol' => 'esp',
  'encryption-algorithm-option' => [['name' => 'aes256gcm', 'keylen' => '128']], 'hash-algorithm-option' => ['hmac_sha256'], 'pfsgroup' => '20',
  'lifetime' => '27000', 'rekey_time' => '24300', 'rand_time' => '2700', 'descr' => 'azure']);
config_set_path('interfaces/opt@number@', ['enable' => true, 'if' => 'ipsec@number@', 'descr' => 'AZURE@number@', 'mtu' => '1400', 'mss' => '1390']);
config_set_path('gateways/gateway_item/', ['interface' => 'opt@number@', 'gateway' => 'dynamic', 'name' => 'AZURE@number@_VTIV4', 'weight' => '1',
  'ipprotocol' => 'inet', 'monitor_disable' => true, 'action_disable' => true, 'force_down' => true, 'descr' => '', 'gw_down_kill_states' => '']);
config_set_path('installedpackages/frr/config/0', ['enable' => 'on', 'routerid' => '192.168.1.1', 'password' => 'x', 'carpstatusvid' => 'none', 'nht' => 'none']);
if (!config_get_path('installedpackages/frrbgp/config/0')) { config_set_path('installedpackages/frrbgp/config/0', ['enable' => 'on', 'asnum' => '@asn@',
  'row' => [['distributeroutevalue' => '192.168.1.0/24', 'distributeroutemap' => 'none']]]); }
config_set_path('installedpackages/frrglobalprefixes/config/', ['iptype' => 'IPv4', 'name' => 'AZ', 'row' => [['seq' => '10', 'action' => 'permit', 'any' => 'on']]]);
config_set_path('installedpackages/frrglobalroutemaps/config/', ['name' => 'AZ', 'action' => 'permit', 'seq' => '10', 'acl_match' => 'none', 'prefix_match' => 'AZ']);
config_set_path('installedpackages/frrbgpneighbors/config/', ['peer' => '@remote@', 'descr' => 'azure', 'peergroup' => 'none', 'password_type' => 'none',
  'asnum' => '@peer_asn@', 'updatesource_type' => 'ipv4', 'updatesource' => 'lan', 'timers_keepalive' => '60', 'timers_holdtime' => '180',
  'timers_connect' => '5', 'routemap_in' => 'AZ', 'routemap_out' => 'AZ', 'ebgpmultihop' => '255']);
