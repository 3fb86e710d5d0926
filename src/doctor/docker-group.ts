import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Check, ok, warning } from './check.js'

/** Whoever may use Docker's socket reads the credentials by `docker inspect ecs-agent`, whatever mode ecs.config has, and is root in all but name. */
export const dockerGroup: Check = {
  id: 'docker-group',
  run: async ({ settings: { root } }) => {
    const [group, passwd] = await Promise.all(['/etc/group', '/etc/passwd'].map((path) => readFile(join(root, path), 'utf8').catch(() => '')))
    const users = usersOf('docker', group ?? '', passwd ?? '')
    if (users.length === 0) return [ok('docker-group', 'no user is in group docker')]
    return [warning('docker-group', `${users.join(', ')} ${users.length === 1 ? 'is' : 'are'} in group docker, and can read the credentials by "docker inspect ecs-agent"`,
      `if nobody needs that: ${users.map((user) => `gpasswd -d ${user} docker`).join('; ')}`)]
  },
}

/** Members by /etc/group, and those whose own group it is by /etc/passwd; root aside. */
export function usersOf(name: string, group: string, passwd: string): string[] {
  const [, , gid, listed = ''] = group.split('\n').map((line) => line.split(':')).find(([each]) => each === name) ?? []
  if (gid === undefined) return []
  const own = passwd.split('\n').map((line) => line.split(':')).filter((fields) => fields[3] === gid).map(([user]) => user)
  return [...new Set([...listed.split(','), ...own])].filter((user): user is string => user !== undefined && user !== '' && user !== 'root')
}
