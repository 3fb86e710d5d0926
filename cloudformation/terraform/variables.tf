variable "name" {
  description = "Prefix of the Systems Manager documents."
  type        = string
  default     = "ecs-regcred"
}

variable "secret_arn" {
  description = "The secret that holds the registry credentials, by its full ARN. The instances' role reads no other."
  type        = string
}

variable "kms_key_arn" {
  description = "The customer managed key that encrypts the secret; null for aws/secretsmanager."
  type        = string
  default     = null
}

variable "cluster" {
  description = "The ECS cluster that the instances join, and the value of their tag ecs-regcred, by which the signal finds them."
  type        = string
}

variable "release_url" {
  description = "Where the release's tarballs lie, without the file name: https://... or s3://..."
  type        = string
}

variable "sha256_x64" {
  description = "The checksum of the x64 tarball, from the .sha256 file beside it."
  type        = string
}

variable "sha256_arm64" {
  description = "The same for arm64."
  type        = string
  default     = "0000000000000000000000000000000000000000000000000000000000000000"
}

variable "settings" {
  description = "More options for install.sh, any setting of the README."
  type        = string
  default     = "--interval 5m"
}

variable "image_parameter" {
  description = "The public parameter that names the image."
  type        = string
  default     = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
}

variable "instance_type" {
  description = "An instance type of the image's architecture."
  type        = string
  default     = "t3.medium"
}

variable "security_group_ids" {
  description = "Security groups of the instances, which must reach Secrets Manager, the registry and ECS."
  type        = list(string)
}

variable "max_concurrency" {
  description = "How many instances at a time, a number or a share."
  type        = string
  default     = "10%"
}

variable "max_errors" {
  description = "After more failures than this no further instance is asked."
  type        = string
  default     = "1"
}

variable "safety_net" {
  description = "How often State Manager asks every instance, whether there was an event or not."
  type        = string
  default     = "rate(6 hours)"
}
