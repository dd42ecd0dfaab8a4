# A lake on AWS: bucket and key, the rules of lakehouse/storage/lifecycle.json, EMR Serverless, and a role for each who works.
#   terraform init && terraform apply -var-file my.tfvars
# It was parsed and linted, never applied.
terraform {
  required_version = ">= 1.6"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

variable "bucket" {
  description = "Name of the bucket"
  type        = string
}

variable "prefix" {
  description = "Path of the lake in the bucket, without slashes at its ends"
  type        = string
  default     = "lake"
}

variable "image" {
  description = "Image of the EMR Serverless application, in ECR"
  type        = string
}

variable "release" {
  description = "Release of EMR; its Spark and Delta must be those of pyproject.toml"
  type        = string
  default     = "emr-spark-8.0.0"
}

variable "orchestrators" {
  description = "ARNs that may act as Dagster's role: a pod's or an instance's"
  type        = list(string)
}

variable "readers" {
  description = "ARNs that may act as the service's role"
  type        = list(string)
}

variable "pepper_secret" {
  description = "ARN of the secret with CREATORLAKE_EMAIL_PEPPER"
  type        = string
}

variable "log_bucket" {
  description = "Bucket that takes the access log of the lake's; let it expire there after 400 days"
  type        = string
}

data "aws_caller_identity" "this" {}

data "aws_region" "this" {}

locals {
  rules = jsondecode(file("${path.module}/../../lakehouse/storage/lifecycle.json")).Rules
  lake  = "${aws_s3_bucket.lake.arn}/${var.prefix}"

  log_group = "/aws/emr-serverless/creatorlake"
}

# --- the bucket -----------------------------------------------------------------------------------------------------

resource "aws_kms_key" "lake" {
  description             = "Objects of ${var.bucket}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

data "aws_iam_policy_document" "key" {
  statement {
    sid       = "TheAccountDecidesByItsRoles"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.this.account_id}:root"]
    }
  }
  statement {
    sid       = "LogsOfJobs"
    actions   = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${data.aws_region.this.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:aws:logs:${data.aws_region.this.region}:${data.aws_caller_identity.this.account_id}:log-group:${local.log_group}"]
    }
  }
}

resource "aws_s3_bucket" "lake" {
  bucket = var.bucket
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "lake" {
  bucket                  = aws_s3_bucket.lake.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "lake" {
  bucket = aws_s3_bucket.lake.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "lake" {
  bucket = aws_s3_bucket.lake.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.lake.arn
    }
  }
}

# Old versions live for the seven days of the lifecycle rules: long enough to undo a mistake, short enough for erasure.
resource "aws_s3_bucket_versioning" "lake" {
  bucket = aws_s3_bucket.lake.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_logging" "lake" {
  bucket        = aws_s3_bucket.lake.id
  target_bucket = var.log_bucket
  target_prefix = "${var.bucket}/"
}

resource "aws_s3_bucket_policy" "lake" {
  bucket = aws_s3_bucket.lake.id
  policy = data.aws_iam_policy_document.tls_only.json
}

data "aws_iam_policy_document" "tls_only" {
  statement {
    sid       = "NothingWithoutTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.lake.arn, "${aws_s3_bucket.lake.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

# One source for `creatorlake doctor --set-lifecycle` and for this: the rules' prefixes are relative to the lake.
resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  bucket     = aws_s3_bucket.lake.id
  depends_on = [aws_s3_bucket_versioning.lake]

  dynamic "rule" {
    for_each = { for rule in local.rules : rule.ID => rule }
    content {
      id     = rule.key
      status = rule.value.Status
      filter {
        prefix = "${var.prefix}/${rule.value.Filter.Prefix}"
      }
      dynamic "transition" {
        for_each = try(rule.value.Transitions, [])
        content {
          days          = transition.value.Days
          storage_class = transition.value.StorageClass
        }
      }
      dynamic "abort_incomplete_multipart_upload" {
        for_each = try([rule.value.AbortIncompleteMultipartUpload], [])
        content {
          days_after_initiation = abort_incomplete_multipart_upload.value.DaysAfterInitiation
        }
      }
      dynamic "noncurrent_version_expiration" {
        for_each = try([rule.value.NoncurrentVersionExpiration], [])
        content {
          noncurrent_days = noncurrent_version_expiration.value.NoncurrentDays
        }
      }
    }
  }
}

# --- EMR Serverless -------------------------------------------------------------------------------------------------

resource "aws_emrserverless_application" "spark" {
  name          = "creatorlake"
  release_label = var.release
  type          = "spark"

  image_configuration {
    image_uri = var.image
  }

  maximum_capacity {
    cpu    = "200 vCPU"
    memory = "800 GB"
    disk   = "4000 GB"
  }

  monitoring_configuration {
    cloudwatch_logging_configuration {
      enabled        = true
      log_group_name = local.log_group
    }
  }

  auto_stop_configuration {
    enabled              = true
    idle_timeout_minutes = 10
  }
}

resource "aws_cloudwatch_log_group" "jobs" {
  name              = local.log_group
  retention_in_days = 400
  kms_key_id        = aws_kms_key.lake.arn
}

# --- who may do what ------------------------------------------------------------------------------------------------

# Spark's jobs write tables and read what landed; they never delete what landed, and touch no other bucket.
data "aws_iam_policy_document" "jobs" {
  statement {
    sid       = "See"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.lake.arn]
  }
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = ["${local.lake}/*"]
  }
  statement {
    sid     = "WriteTables"
    actions = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    resources = [
      for folder in ["delta", "exports", "progress", "alerts", "health", "_doctor"] : "${local.lake}/${folder}/*"
    ]
  }
  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.lake.arn]
  }
  statement {
    sid       = "ReadPepper"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [var.pepper_secret]
  }
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = ["${aws_cloudwatch_log_group.jobs.arn}:*"]
  }
}

# Dagster lands files, builds and publishes the index, starts jobs.
data "aws_iam_policy_document" "orchestrator" {
  statement {
    sid       = "See"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation", "s3:GetLifecycleConfiguration"]
    resources = [aws_s3_bucket.lake.arn]
  }
  statement {
    sid       = "ReadAndWrite"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${local.lake}/*"]
  }
  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.lake.arn]
  }
  statement {
    sid     = "FollowJobs"
    actions = ["emr-serverless:GetApplication", "emr-serverless:StartJobRun", "emr-serverless:ListJobRuns"]
    resources = [
      aws_emrserverless_application.spark.arn,
    ]
  }
  statement {
    sid       = "FollowAJob"
    actions   = ["emr-serverless:GetJobRun", "emr-serverless:CancelJobRun", "emr-serverless:GetDashboardForJobRun"]
    resources = ["${aws_emrserverless_application.spark.arn}/jobruns/*"]
  }
  statement {
    sid       = "HandTheRoleToJobs"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.jobs.arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["emr-serverless.amazonaws.com"]
    }
  }
  statement {
    sid       = "ReadJobLogs"
    actions   = ["logs:GetLogEvents", "logs:DescribeLogStreams"]
    resources = ["${aws_cloudwatch_log_group.jobs.arn}:*"]
  }
}

# The service reads snapshots and their pointer, nothing else.
data "aws_iam_policy_document" "serving" {
  statement {
    sid       = "See"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.lake.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.prefix}/snapshots/*"]
    }
  }
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = ["${local.lake}/snapshots/*"]
  }
  statement {
    sid       = "Decrypt"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.lake.arn]
  }
}

data "aws_iam_policy_document" "trust_emr" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["emr-serverless.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }
  }
}

data "aws_iam_policy_document" "trust" {
  for_each = { orchestrator = var.orchestrators, serving = var.readers }
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = each.value
    }
  }
}

resource "aws_iam_role" "jobs" {
  name               = "creatorlake-jobs"
  assume_role_policy = data.aws_iam_policy_document.trust_emr.json
}

resource "aws_iam_role_policy" "jobs" {
  role   = aws_iam_role.jobs.id
  policy = data.aws_iam_policy_document.jobs.json
}

resource "aws_iam_role" "orchestrator" {
  name               = "creatorlake-orchestrator"
  assume_role_policy = data.aws_iam_policy_document.trust["orchestrator"].json
}

resource "aws_iam_role_policy" "orchestrator" {
  role   = aws_iam_role.orchestrator.id
  policy = data.aws_iam_policy_document.orchestrator.json
}

resource "aws_iam_role" "serving" {
  name               = "creatorlake-serving"
  assume_role_policy = data.aws_iam_policy_document.trust["serving"].json
}

resource "aws_iam_role_policy" "serving" {
  role   = aws_iam_role.serving.id
  policy = data.aws_iam_policy_document.serving.json
}

# --- what the settings need -----------------------------------------------------------------------------------------

output "settings" {
  description = "Environment of Dagster"
  value = {
    CREATORLAKE_LAKE            = "s3://${aws_s3_bucket.lake.id}/${var.prefix}"
    CREATORLAKE_S3_REGION       = data.aws_region.this.region
    CREATORLAKE_EMR_APPLICATION = aws_emrserverless_application.spark.id
    CREATORLAKE_EMR_ROLE        = aws_iam_role.jobs.arn
  }
}
