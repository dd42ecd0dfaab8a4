package creatorlake

import java.io.{FileNotFoundException, IOException}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.FileAlreadyExistsException
import java.util.Arrays

import scala.jdk.CollectionConverters._
import scala.util.control.NonFatal

import io.delta.storage.S3SingleDriverLogStore
import org.apache.hadoop.conf.Configuration
import org.apache.hadoop.fs.{FileSystem, Path}
import software.amazon.awssdk.awscore.exception.AwsServiceException

/** Delta's log on S3 with a fence: a commit is one PUT that the server refuses if the version exists, whoever wrote it.
  *
  * Delta's own store only looks whether the version exists and then overwrites it, so two drivers can lose a commit; S3A
  * writes conditionally only when it is asked to through its builder (ADR 0004). After a refusal, and after an answer that
  * got lost, the commit that is there is read: ours is a success, another one a conflict, which Delta resolves.
  */
class ConditionalLogStore(conf: Configuration) extends S3SingleDriverLogStore(conf) {
  import ConditionalLogStore._

  override def write(
      path: Path,
      actions: java.util.Iterator[String],
      overwrite: java.lang.Boolean,
      hadoopConf: Configuration): Unit =
    if (overwrite) super.write(path, actions, overwrite, hadoopConf)
    else commit(path.getFileSystem(hadoopConf), path, actions.asScala.map(_ + "\n").mkString.getBytes(UTF_8), 1)

  @scala.annotation.tailrec
  private def commit(fs: FileSystem, path: Path, body: Array[Byte], attempt: Int): Unit = {
    val failure = create(fs, path, body)
    if (failure.isEmpty) return
    stored(fs, path) match {
      case Some(there) if Arrays.equals(there, body) => ()
      case Some(_) => throw new FileAlreadyExistsException(path.toString)
      case None if isBusy(failure.get) && attempt < Attempts =>
        Thread.sleep(FirstWaitMillis << (attempt - 1))
        commit(fs, path, body, attempt + 1)
      case None => throw failure.get
    }
  }

  private def create(fs: FileSystem, path: Path, body: Array[Byte]): Option[IOException] =
    try {
      val stream = fs.createFile(path).create().must(Conditional, true).build()
      try stream.write(body)
      catch { case NonFatal(error) => stream.abort(); throw error }
      stream.close()
      None
    } catch { case error: IOException => Some(error) }

  private def stored(fs: FileSystem, path: Path): Option[Array[Byte]] =
    try {
      val stream = fs.open(path)
      try Some(stream.readAllBytes())
      finally stream.close()
    } catch { case _: FileNotFoundException => None }
}

object ConditionalLogStore {
  /** S3A's option of a file that may only be created. */
  private val Conditional = "fs.option.create.conditional.overwrite"
  /** Tries while the server says that another conditional write of the key is under way; 12.7 s of waiting in all. */
  private val Attempts = 8
  private val FirstWaitMillis = 100L
  private val Conflict = 409

  private def isBusy(error: Throwable): Boolean =
    Iterator.iterate(error)(_.getCause).takeWhile(_ != null).exists {
      case answer: AwsServiceException => answer.statusCode == Conflict
      case _ => false
    }
}
