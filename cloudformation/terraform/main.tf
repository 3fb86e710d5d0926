# instance.yaml and signal.yaml as one Terraform module: the least IAM, a launch template that passes only the secret's ARN, and the signal.
# The reasons stand in those files. No credential is in a variable, in the state or in the user data.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

data "aws_ssm_parameter" "image" {
  name = var.image_parameter
}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.name

  # The example that the tests run, with its values filled in.
  user_data = replace(replace(replace(replace(replace(replace(
    file("${path.module}/../../scripts/user-data/shell.sh"),
    "/my-cluster/", var.cluster),
    "/(?m)^secret=.*$/", "secret=${var.secret_arn}"),
    "/(?m)^from=.*$/", "from=${var.release_url}"),
    "/(?m)^x64=.*$/", "x64=${var.sha256_x64}"),
    "/(?m)^arm64=.*$/", "arm64=${var.sha256_arm64}"),
  "/(?m)^settings=.*$/", "settings='${var.settings}'")
}

resource "aws_iam_role" "instance" {
  name_prefix = "ecs-regcred-instance-"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy_attachment" "instance" {
  for_each   = toset(["service-role/AmazonEC2ContainerServiceforEC2Role", "AmazonSSMManagedInstanceCore"])
  role       = aws_iam_role.instance.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.value}"
}

resource "aws_iam_role_policy" "instance" {
  name = "read-the-registry-credentials"
  role = aws_iam_role.instance.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Effect   = "Allow"
        Action   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
        Resource = var.secret_arn
      }],
      var.kms_key_arn == null ? [] : [{
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = var.kms_key_arn
        Condition = { StringEquals = {
          "kms:ViaService"                  = "secretsmanager.${split(":", var.secret_arn)[3]}.${data.aws_partition.current.dns_suffix}"
          "kms:EncryptionContext:SecretARN" = var.secret_arn
        } }
      }]
    )
  })
}

resource "aws_iam_instance_profile" "instance" {
  name_prefix = "ecs-regcred-instance-"
  role        = aws_iam_role.instance.name
}

resource "aws_launch_template" "instance" {
  name_prefix            = "ecs-regcred-"
  image_id               = data.aws_ssm_parameter.image.value
  instance_type          = var.instance_type
  vpc_security_group_ids = var.security_group_ids
  user_data              = base64encode(local.user_data)

  iam_instance_profile {
    arn = aws_iam_instance_profile.instance.arn
  }

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { "ecs-regcred" = var.cluster }
  }
}

resource "aws_ssm_document" "pass" {
  name            = "${var.name}-pass"
  document_type   = "Command"
  document_format = "JSON"
  target_type     = "/AWS::EC2::Instance"
  content = jsonencode({
    schemaVersion = "2.2"
    description   = "Makes ecs-regcred look at its source now, and tells how that ended"
    mainSteps = [{
      action       = "aws:runShellScript"
      name         = "pass"
      precondition = { StringEquals = ["platformType", "Linux"] }
      inputs = {
        timeoutSeconds = "600"
        runCommand = [
          "if [ -d /run/systemd/system ]; then systemctl reload ecs-regcred; else initctl reload ecs-regcred; fi || exit",
          "exec /usr/bin/ecs-regcred sync",
        ]
      }
    }]
  })
}

resource "aws_ssm_document" "signal" {
  name            = "${var.name}-signal"
  document_type   = "Automation"
  document_format = "JSON"
  content = jsonencode({
    schemaVersion = "0.3"
    description   = "A pass of ecs-regcred on the tagged instances, some at a time"
    assumeRole    = "{{ AutomationAssumeRole }}"
    parameters = {
      AutomationAssumeRole = { type = "String", description = "What it runs as", default = aws_iam_role.signal.arn }
    }
    mainSteps = [{
      action = "aws:runCommand"
      name   = "pass"
      inputs = {
        DocumentName   = aws_ssm_document.pass.name
        Targets        = [{ Key = "tag:ecs-regcred", Values = [var.cluster] }]
        MaxConcurrency = var.max_concurrency
        MaxErrors      = var.max_errors
      }
    }]
  })
}

resource "aws_iam_role" "signal" {
  name_prefix = "ecs-regcred-signal-"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ssm.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "signal" {
  name = "make-a-pass"
  role = aws_iam_role.signal.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = "ssm:SendCommand", Resource = aws_ssm_document.pass.arn },
      {
        Effect    = "Allow"
        Action    = "ssm:SendCommand"
        Resource  = "arn:${local.partition}:ec2:${local.region}:${local.account}:instance/*"
        Condition = { StringEquals = { "ssm:resourceTag/ecs-regcred" = var.cluster } }
      },
      { Effect = "Allow", Action = ["ssm:ListCommands", "ssm:ListCommandInvocations"], Resource = "*" },
    ]
  })
}

resource "aws_cloudwatch_event_rule" "rotated" {
  name_prefix = "ecs-regcred-"
  description = "The current version of the registry credentials has changed"
  event_pattern = jsonencode({
    source        = ["aws.secretsmanager"]
    "detail-type" = ["Secret Label Updated"]
    resources     = [var.secret_arn]
    detail        = { labelUpdated = ["AWSCURRENT"] }
  })
}

resource "aws_cloudwatch_event_target" "signal" {
  rule     = aws_cloudwatch_event_rule.rotated.name
  arn      = "arn:${local.partition}:ssm:${local.region}:${local.account}:automation-definition/${aws_ssm_document.signal.name}:$DEFAULT"
  role_arn = aws_iam_role.rule.arn
  input    = jsonencode({ AutomationAssumeRole = [aws_iam_role.signal.arn] })
}

resource "aws_iam_role" "rule" {
  name_prefix = "ecs-regcred-rule-"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "rule" {
  name = "start-the-signal"
  role = aws_iam_role.rule.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "ssm:StartAutomationExecution"
        Resource = "arn:${local.partition}:ssm:${local.region}:${local.account}:automation-definition/${aws_ssm_document.signal.name}:*"
      },
      {
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = aws_iam_role.signal.arn
        Condition = { StringEquals = { "iam:PassedToService" = "ssm.amazonaws.com" } }
      },
    ]
  })
}

resource "aws_ssm_association" "safety_net" {
  name                        = aws_ssm_document.pass.name
  association_name            = "${var.name}-safety-net"
  schedule_expression         = var.safety_net
  apply_only_at_cron_interval = true
  max_concurrency             = var.max_concurrency
  max_errors                  = var.max_errors

  targets {
    key    = "tag:ecs-regcred"
    values = [var.cluster]
  }
}
