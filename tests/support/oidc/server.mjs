// An OAuth server for tests: `node server.mjs CONFIG`, JSON with port, certificate, key and clients.
// POST /test/consent mints a refresh token, as a person's consent would; GET /test/seen counts requests.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `https://127.0.0.1:${config.port}`;

// One process keeps everything; `consume` is atomic, which the memory adapter's is not.
const kept = new Map();
class Adapter {
  constructor(name) {
    this.name = name;
  }
  key(id) {
    return `${this.name}:${id}`;
  }
  async upsert(id, payload) {
    kept.set(this.key(id), payload);
  }
  async find(id) {
    return kept.get(this.key(id));
  }
  async findByUid() {
    return undefined;
  }
  async findByUserCode() {
    return undefined;
  }
  async consume(id) {
    const payload = kept.get(this.key(id));
    if (payload.consumed) throw new Error('consumed twice');
    payload.consumed = Math.floor(Date.now() / 1000);
  }
  async destroy(id) {
    kept.delete(this.key(id));
  }
  async revokeByGrantId(grantId) {
    for (const [key, payload] of kept) if (payload.grantId === grantId) kept.delete(key);
  }
}

const provider = new Provider(issuer, {
  adapter: Adapter,
  clients: config.clients,
  features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  rotateRefreshToken: true,
  scopes: ['openid', 'offline_access', 'api'],
  ttl: { ClientCredentials: config.lifetime, AccessToken: config.lifetime, RefreshToken: 3600, Grant: 3600 },
});

const seen = { asked: 0, granted: 0 };
provider.use(async (ctx, next) => {
  if (ctx.path === '/test/consent') {
    const client = await provider.Client.find(ctx.query.client);
    const grant = new provider.Grant({ accountId: 'a-person', clientId: client.clientId });
    grant.addOIDCScope('openid offline_access api');
    const token = new provider.RefreshToken({
      accountId: 'a-person',
      client,
      grantId: await grant.save(),
      gty: 'authorization_code',
      scope: 'openid offline_access api',
    });
    ctx.body = { refresh_token: await token.save() };
    return;
  }
  if (ctx.path === '/test/seen') {
    ctx.body = seen;
    return;
  }
  if (ctx.path === '/test/withdraw') {
    for (const key of [...kept.keys()]) if (!key.startsWith('Client:')) kept.delete(key);
    ctx.body = {};
    return;
  }
  if (ctx.path === '/token') seen.asked += 1;
  await next();
  if (ctx.path === '/token' && ctx.status === 200) seen.granted += 1;
});

createServer({ cert: config.certificate, key: config.key }, provider.callback()).listen(config.port, '127.0.0.1');
