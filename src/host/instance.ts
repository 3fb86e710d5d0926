import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'

/**
 * A name of this machine that stays the same and is no other's: its place in the splay follows from it. From local files only, for it is needed when
 * the metadata service is away, too; on EC2 it is the instance id.
 */
export async function readInstanceId(root: string): Promise<string> {
  const files = [
    '/var/lib/cloud/data/instance-id', // cloud-init's
    '/sys/devices/virtual/dmi/id/board_asset_tag', // the instance id on Nitro instances
    '/etc/machine-id', // last: an image that was not cleaned gives all its instances the same
  ]
  for (const file of files) {
    const text = (await readFile(join(root, file), 'utf8').catch(() => '')).trim()
    // Not an id: cloud-init's datasource without metadata, and what firmware says when nobody filled it in.
    if (text !== '' && !/^(iid-datasource-none|not specified|none|default string|uninitialized)$/i.test(text)) return text
  }
  return hostname()
}
