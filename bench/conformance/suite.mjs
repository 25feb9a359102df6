// Run the suite through a gateway and print what came of each kind of test, as one JSON object.
//   node suite.mjs SUITE BASE AUTHORISED TOKEN [TEST]
// A consumer of Tidegate never sends `Authorization`: its provider's credential is Tidegate's to put on. The
// tests of authorised requests therefore go to AUTHORISED, a provider whose connection holds what they would
// send; all others go to BASE, a provider that is reached by the host's name and wants no credential.
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [suite, base, elsewhere, token, only] = process.argv.slice(2)
const load = file => import(pathToFileURL(path.join(path.resolve(suite), file)))
const suites = (await load('tests/index.mjs')).default
const { runTests, getResults } = await load('test-engine/client/runner.mjs')
const { determineTestResult, resultTypes } = await load('test-engine/lib/results.mjs')

const plain = globalThis.fetch
globalThis.fetch = (url, init = {}) => {
  const headers = [...(init.headers ?? [])]
  const authorised = headers.some(([name, value]) => name === 'Test-ID' && value.startsWith('other-authorization'))
  const target = authorised ? url.replace(base, elsewhere) : url
  return plain(target, { ...init, headers: [...headers, ['Tidegate-Token', token]] })
}

const wanted = only === undefined
  ? suites
  : suites.map(one => ({ ...one, tests: one.tests.filter(test => test.id === only).map(test => ({ ...test, dump: true })) }))
await runTests(wanted.filter(one => one.tests.length), false, base)

const results = getResults()
const names = new Map(Object.entries(resultTypes).map(([name, type]) => [type, name]))
const good = { required: 'pass', optimal: 'pass', check: 'yes' }
const kinds = { required: [0, 0], optimal: [0, 0], check: [0, 0] }
const missed = []
for (const one of suites) {
  for (const test of one.tests) {
    if (test.browser_only || (only !== undefined && test.id !== only)) continue
    const kind = test.kind ?? 'required'
    const result = names.get(determineTestResult(suites, test.id, results, only === undefined))
    kinds[kind][1] += 1
    if (result === good[kind]) kinds[kind][0] += 1
    else if (kind !== 'check') missed.push({ suite: one.id, test: test.id, kind, result, why: results[test.id]?.[1] ?? '' })
  }
}
console.log(JSON.stringify({ kinds, missed }))
process.exit(0)
