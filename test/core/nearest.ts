import t from 'tap'
import { nearest } from '../../src/core/nearest.js'

void t.test('the nearest name is offered, and none where none is near', async (t) => {
  const names = ['REGCRED_INTERVAL', 'REGCRED_SPLAY', 'REGCRED_SECRET_ID']
  t.equal(nearest('REGCRED_INTERVALL', names), '; did you mean REGCRED_INTERVAL?')
  t.equal(nearest('REGCRED_SECRETID', names), '; did you mean REGCRED_SECRET_ID?')
  t.equal(nearest('PATH', names), '')
  t.equal(nearest('x', []), '')
})
