import t from 'tap'
import { ADVICE, classifyReason, isPullFailure, isRefusal, type ReasonClass } from '../../src/fleet/classify-reason.js'

const PRIVATE = 'registry.example.com/team/app:1'
const ECR = '123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1'

// As ECS prints them: the ECS agent's and the backend's own words around those of dockerd, containerd and the registry.
const CASES: readonly (readonly [ReasonClass, string, string?])[] = [
  ['denied', "CannotPullContainerError: Error response from daemon: pull access denied for registry.example.com/team/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"],
  ['denied', 'CannotPullContainerError: Error response from daemon: Get "https://registry.example.com/v2/": unauthorized: incorrect username or password'],
  ['denied', 'CannotPullContainerError: Error response from daemon: unauthorized: authentication required'],
  ['denied', 'CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref registry.example.com/team/app:1: pulling from host registry.example.com failed with status code [manifests 1]: 403 Forbidden'],
  ['denied', 'CannotPullContainerError: Error response from daemon: error parsing HTTP 403 response body: invalid character'],
  ['no-credentials', 'CannotPullContainerError: Error response from daemon: Get https://registry.example.com/v2/team/app/manifests/1: no basic auth credentials'],
  ['rate-limited', 'CannotPullContainerError: inspect image has been retried 5 time(s): httpReaderSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/manifests/sha256:2bb501e6429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit.'],
  ['rate-limited', 'CannotPullContainerError: toomanyrequests: You have reached your unauthenticated pull rate limit: denied'],
  ['not-found', 'CannotPullContainerError: Error response from daemon: manifest for registry.example.com/team/app:nope not found: manifest unknown: manifest unknown'],
  ['not-found', 'CannotPullContainerError: Error: image team/app:9ce7d67b not found'],
  ['network', 'CannotPullContainerError: Error response from daemon: Get "https://registry.example.com/v2/": dial tcp 10.0.3.17:443: i/o timeout'],
  ['network', 'CannotPullContainerError: Error response from daemon: Get "https://registry.example.com/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)'],
  ['network', 'CannotPullContainerError: Error response from daemon: Get https://registry.example.com/v2/: dial tcp: lookup registry.example.com on 10.0.0.2:53: no such host'],
  ['tls', 'CannotPullContainerError: Error response from daemon: Get "https://registry.example.com/v2/": x509: certificate signed by unknown authority'],
  ['platform', "CannotPullContainerError: image Manifest does not contain descriptor matching platform 'linux/arm64': no matching manifest for linux/arm64/v8 in the manifest list entries"],
  ['disk', 'CannotPullContainerError: write /var/lib/docker/tmp/GetImageBlob1: no space left on device'],
  ['ecr', `CannotPullContainerError: Error response from daemon: pull access denied for ${ECR}, repository does not exist or may require 'docker login'`],
  ['ecr', 'CannotPullContainerError: Error response from daemon: unauthorized: authentication required', ECR],
  ['ecr', 'CannotPullECRContainerError: AccessDeniedException: User is not authorized to perform: ecr:GetAuthorizationToken'],
  ['task-credentials', 'ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: AccessDeniedException'],
  ['other-pull', 'CannotPullContainerError: Error response from daemon: something quite new'],
  ['application', 'Essential container in task exited'],
  ['application', 'OutOfMemoryError: Container killed due to memory usage'],
  ['health-check', 'Task failed ELB health checks in (target-group arn:aws:elasticloadbalancing:x)'],
  ['scheduler', 'Scaling activity initiated by (deployment ecs-svc/1)'],
  ['placement', '(service web) was unable to place a task because no container instance met all of its requirements.'],
  // Regression: these were `other`, and the advice for the first said that the container had started.
  ['application', 'CannotStartContainerError: Error response from daemon: driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is already allocated'],
  ['application', 'CannotCreateContainerError: API error (500): devmapper'],
  ['application', 'DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s'],
  ['network', 'DockerTimeoutError: Could not transition to pulled; timed out after waiting 2h0m0s'],
  ['other', 'Host EC2 (instance i-0123) terminated.'],
]

t.test('a reason as ECS prints it is sorted into what a person does about it', async (t) => {
  for (const [expected, reason, image = PRIVATE] of CASES) t.equal(classifyReason(reason, image), expected, reason.slice(0, 90))
})

t.test('a digest or a port that looks like a status says nothing', async (t) => {
  t.equal(classifyReason('CannotPullContainerError: sha256:401403429 of it: something quite new'), 'other-pull')
  t.equal(classifyReason('CannotPullContainerError: failed to do request: Head "https://r.example.com:429/v2/a/manifests/401": dial tcp: connection refused'), 'network')
})

// Regression: a tag that is a build number was taken for the registry's answer, so a missing build 401 was told as a refused credential and stopped the rollout.
t.test('a tag that looks like a status says nothing', async (t) => {
  for (const tag of ['401', '403', '404', '429', '500', '1.403', 'build-401', '401-slim']) {
    const image = `registry.example.com:5000/team/app:${tag}`
    t.equal(classifyReason(`CannotPullContainerError: Error response from daemon: manifest for ${image} not found: manifest unknown: manifest unknown`, image), 'not-found', tag)
    t.equal(classifyReason(`CannotPullContainerError: failed to resolve ref ${image}: failed to do request: dial tcp: lookup registry.example.com: no such host`, image), 'network', tag)
    t.equal(classifyReason(`CannotPullContainerError: failed to resolve ref ${image}: unexpected status code 403 Forbidden`, image), 'denied', tag)
  }
})

// Regression: these texts of ECS and Docker came out as unknown, as a missing image, or as a credential of the task definition.
t.test('further texts as ECS prints them', async (t) => {
  t.equal(classifyReason("CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not contain descriptor matching platform 'linux/amd64'"), 'platform')
  t.equal(classifyReason('CannotPullContainerError: Error response from daemon: repository registry.example.com/team/app not found: does not exist or no pull access'), 'denied')
  t.equal(classifyReason('CannotPullContainerError: ref pull has been retried 1 time(s): failed to copy: httpReadSeeker: failed open: context canceled'), 'network')
  t.equal(classifyReason('ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve ecr registry auth: service call has been retried 3 time(s)'), 'ecr')
})

t.test('every class has its advice, and only refusals blame the credential', async (t) => {
  t.match(ADVICE.application, /could not be started/)
  for (const [expected] of CASES) t.ok(ADVICE[expected])
  t.same(Object.keys(ADVICE).filter((of) => isRefusal(of as ReasonClass)), ['denied', 'no-credentials'])
  t.notOk(isPullFailure('application'))
  t.notOk(isPullFailure(undefined))
})
