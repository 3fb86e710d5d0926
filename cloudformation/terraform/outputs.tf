output "launch_template_id" {
  description = "For the Auto Scaling group or the compute environment."
  value       = aws_launch_template.instance.id
}

output "instance_role_arn" {
  description = "For the secret's and the key's own policies, where they are to name it."
  value       = aws_iam_role.instance.arn
}
